"""Counting the floating-point operations of convolutions and matrix products, wherever they run.

The count sits below autograd and `torch.func`, at the last stop before a device's kernels. So it
sees every such operation of this process: of any module or of none, in any thread, forward and
backward, batched by `vmap` or not. A multiplication and an addition are two operations, as in
`torch.utils.flop_counter`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
_STOP = "BackendSelect"  # the dispatcher's key that every thread passes and no operation skips
_BEYOND = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)

Formula = Callable[..., int]
"""A formula: the arguments of an operation, and its result as `out_val`, to operations."""


@dataclass
class Operations:
    """Floating-point operations."""

    forward: int = 0
    """Outside of backward passes."""
    backward: int = 0
    """Within backward passes."""
    is_intact: bool = False
    """True if the counter still counted at the end."""


def _taps(weight: Tensor) -> int:
    # multiplications for one output value
    return int(weight.numel()) // max(1, int(weight.shape[0]))


def _product(one: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * int(out_val.numel()) * int(one.size(-1))


def _product_added(_: Tensor, one: Tensor, *__: Any, out_val: Tensor, **___: Any) -> int:
    return 2 * int(out_val.numel()) * int(one.size(-1))


def _products_summed(_: Tensor, one: Tensor, *__: Any, out_val: Tensor, **___: Any) -> int:
    return 2 * int(out_val.numel()) * int(one.size(0) * one.size(-1))


def _plain_convolution(_: Tensor, weight: Tensor, *__: Any, out_val: Tensor, **___: Any) -> int:
    return 2 * int(out_val.numel()) * _taps(weight)


def _convolution(x: Tensor, weight: Tensor, *rest: Any, out_val: Tensor, **_: Any) -> int:
    is_transposed: bool = rest[4]  # then each input meets a filter, and otherwise each output does
    return 2 * int((x if is_transposed else out_val).numel()) * _taps(weight)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any, out_val: object
) -> int:
    # The gradient of the input and that of the weight each take as much as the convolution. torch's
    # formula takes the gradient of the weight once per group, and `vmap` makes many groups.
    is_transposed, (of_input, of_weight, _) = rest[4], rest[7]
    one = 2 * int((x if is_transposed else gradient).numel()) * _taps(weight)
    return one * (bool(of_input) + bool(of_weight))


def _formulas() -> dict[Any, Formula]:
    known = dict(flop_registry)
    mine: dict[Formula, str] = {
        _product: "mm bmm mv dot vdot",
        _product_added: "addmm addmm_ _addmm_activation baddbmm baddbmm_ addmv addmv_",
        _products_summed: "addbmm addbmm_",
        _plain_convolution: "cudnn_convolution mkldnn_convolution _slow_conv2d_forward",
        _convolution: "convolution _convolution convolution_overrideable",
        _convolution_backward: "convolution_backward",
    }
    for formula, names in mine.items():
        known |= {getattr(_aten, name): formula for name in names.split()}
    flash = _aten._scaled_dot_product_flash_attention
    flash_backward = _aten._scaled_dot_product_flash_attention_backward
    known[_aten._scaled_dot_product_flash_attention_for_cpu] = known[flash]
    known[_aten._scaled_dot_product_flash_attention_for_cpu_backward] = known[flash_backward]
    return {
        packet: formula
        for packet, formula in known.items()
        if isinstance(packet, torch._ops.OpOverloadPacket)
    }


@contextmanager
def counted_operations() -> Iterator[Operations]:
    """Counts the operations of this process inside the context. Contexts do not nest."""
    total, lock, local = Operations(), threading.Lock(), threading.local()

    def counting(operation: Any, formula: Formula) -> Callable[..., Any]:
        run = operation.redispatch

        def kernel(keys: Any, *args: Any, **kwargs: Any) -> Any:
            # Operations call each other, as `convolution` calls `_convolution`. The outermost
            # counts. One on tensors without values, as a compiler traces them, does not.
            if getattr(local, "is_within", False) or args[0].is_meta:
                return run(keys & _BEYOND, *args, **kwargs)
            local.is_within = True
            try:
                result = run(keys & _BEYOND, *args, **kwargs)
            finally:
                local.is_within = False
            count = formula(*args, out_val=result, **kwargs)
            is_backward = torch._C._current_graph_task_id() != -1
            with lock:
                if is_backward:
                    total.backward += count
                else:
                    total.forward += count
            return result

        return kernel

    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    probe, dot = torch.ones(1, device="cpu", dtype=torch.float32), _aten.dot.default
    try:
        for packet, formula in _FORMULAS.items():
            for overload in packet.overloads():
                operation = getattr(packet, overload)
                library.impl(operation, counting(operation, formula), _STOP, with_keyset=True)
        yield total
    finally:
        before = total.forward
        dot(probe, probe)
        total.is_intact = total.forward >= before + _PROBE
        total.forward -= _PROBE if total.is_intact else 0
        library._destroy()


_PROBE = 2  # operations of a product of two numbers
_FORMULAS = _formulas()
