"""In which precision a network computes, on whatever device.

A layer in bfloat16 has inputs and outputs of bfloat16 and sums of float32. Many processors have no
arithmetic for bfloat16. There torch takes two to fifteen times as long as in float32. Float32 gives
the same values: inputs and outputs are rounded, and products of two rounded numbers are exact.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

BFLOAT16_ARITHMETIC = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "sve_bf16")
"""Each is arithmetic for bfloat16, as `torch.cpu.get_capabilities` calls it."""


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """The context for a forward pass in a precision, `float32` or `bfloat16`."""
    if precision != "bfloat16":
        yield
        return
    rounds = device.type == "cpu" and not has_bfloat16_arithmetic()
    with torch.autocast(device.type, torch.bfloat16), RoundedFloat32() if rounds else nullcontext():
        yield


@cache
def has_bfloat16_arithmetic() -> bool:
    """False for a processor that is known to have none; an older torch does not know."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, Any])()
    return not capabilities or any(capabilities.get(name) for name in BFLOAT16_ARITHMETIC)


class RoundedFloat32(TorchFunctionMode):
    """Under autocast to bfloat16, convolutions and linear layers compute in float32.

    Their inputs, weights and outputs are rounded to bfloat16, and so are the gradients of these.
    """

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        if func not in (F.conv2d, F.linear):
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            named = {name: _rounded(value) for name, value in (kwargs or {}).items()}
            return func(*map(_rounded, args), **named).bfloat16()


def _rounded(value: Any) -> Any:
    """A tensor with the values that bfloat16 has, in float32; anything else as it is."""
    return value.bfloat16().float() if isinstance(value, Tensor) else value


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Has a GPU compute in float32 where float32 is said.

    By default, convolutions on a GPU round their inputs to ten bits (TF32). Then logits of the same
    weights would differ between kinds of devices by a thousandth.
    """
    if device.type != "cuda":
        yield
        return
    before = float32_precision()
    set_float32_precision(("ieee", "ieee") if HAS_PRECISION_NAMES else (False, False))
    try:
        yield
    finally:
        set_float32_precision(before)


HAS_PRECISION_NAMES = hasattr(torch.backends.cudnn, "conv")
"""True for a torch that names precisions (2.9 and later). Before, there was a flag for TF32.

Where the names are used, torch refuses to read the flags."""


def float32_precision() -> tuple[Any, Any]:
    """How a GPU computes convolutions and matrix products of float32, for this process."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    if HAS_PRECISION_NAMES:
        return cudnn.conv.fp32_precision, matmul.fp32_precision
    return cudnn.allow_tf32, matmul.allow_tf32


def set_float32_precision(values: tuple[Any, Any]) -> None:
    """Sets what `float32_precision` has told."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    if HAS_PRECISION_NAMES:
        cudnn.conv.fp32_precision, matmul.fp32_precision = values
    else:
        cudnn.allow_tf32, matmul.allow_tf32 = values
