"""What crosses the border of an isolated process, as safetensors: never pickles.

What comes out was written by a process that ran a stranger's code, so nothing of it is believed
before it is checked.
"""

from dataclasses import asdict
from typing import Annotated, Any

import safetensors.torch
import torch
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from .attempt import Inputs, Outcome, Tensors
from .data import Samples
from .problem import GOLD_LABELS, REPORTS
from .records import Status
from .task import DataSpec, ModelSpec, TrainSpec
from .training import EpochLog

PREAMBLE = "json"
"""The tensor that holds all that is no tensor, as the bytes of JSON text."""

SETS = ("forget", "retain", "holdout")


class _InputsPreamble(BaseModel):
    requires: frozenset[str]
    num_forget: int
    num_classes: int
    channels: int
    data: DataSpec
    model: ModelSpec
    recipe: TrainSpec
    seed: int
    device: str
    training_log: list[dict[str, Any]] | None


class _OutcomePreamble(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status
    error: str | None
    trace: str
    forward_samples: Annotated[int, Ge(0)]
    backward_samples: Annotated[int, Ge(0)]
    peak_memory_bytes: Annotated[int, Ge(0)]


def _pack(preamble: BaseModel, tensors: Tensors) -> bytes:
    text = torch.frombuffer(bytearray(preamble.model_dump_json().encode()), dtype=torch.uint8)
    contiguous = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    return safetensors.torch.save({PREAMBLE: text, **contiguous})


def _unpack(content: bytes) -> tuple[bytes, Tensors]:
    tensors = safetensors.torch.load(content)
    return tensors.pop(PREAMBLE).numpy().tobytes(), tensors


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def pack_inputs(inputs: Inputs) -> bytes:
    """What the isolated process gets: what the method declared, and nothing else."""
    access = inputs.access
    log = access.get("training_log")
    preamble = _InputsPreamble(
        requires=inputs.requires,
        num_forget=inputs.num_forget,
        num_classes=inputs.num_classes,
        channels=inputs.channels,
        data=inputs.data,
        model=inputs.model,
        recipe=inputs.recipe,
        seed=inputs.seed,
        device=str(inputs.device),
        training_log=None if log is None else [asdict(line) for line in log],
    )
    tensors = {f"original.{name}": value for name, value in inputs.original.items()}
    for name in SETS:
        if name in access:
            tensors |= {
                f"{name}.images": access[name].images,
                f"{name}.labels": access[name].labels,
            }
    if GOLD_LABELS in access:
        tensors[GOLD_LABELS] = access[GOLD_LABELS]
    return _pack(preamble, tensors)


def unpack_inputs(content: bytes) -> Inputs:
    """The same again, on the device."""
    text, tensors = _unpack(content)
    preamble = _InputsPreamble.model_validate_json(text)
    device = torch.device(preamble.device)
    access: dict[str, Any] = {}
    for name in SETS:
        if name in preamble.requires:
            images, labels = tensors[f"{name}.images"], tensors[f"{name}.labels"]
            access[name] = Samples(images, labels).to(device)
    if GOLD_LABELS in preamble.requires:
        access[GOLD_LABELS] = tensors[GOLD_LABELS].to(device)
    if preamble.training_log is not None:
        access["training_log"] = tuple(EpochLog(**line) for line in preamble.training_log)
    return Inputs(
        original=_below(tensors, "original."),
        access=access,
        requires=preamble.requires,
        num_forget=preamble.num_forget,
        num_classes=preamble.num_classes,
        channels=preamble.channels,
        data=preamble.data,
        model=preamble.model,
        recipe=preamble.recipe,
        seed=preamble.seed,
        device=device,
    )


def pack_outcome(outcome: Outcome) -> bytes:
    """What the isolated process gives back; the clock is not its business."""
    preamble = _OutcomePreamble(
        status=outcome.status,
        error=outcome.error,
        trace=outcome.trace,
        forward_samples=outcome.forward_samples,
        backward_samples=outcome.backward_samples,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )
    tensors = {f"weights.{name}": value for name, value in (outcome.weights or {}).items()}
    tensors |= {f"report.{n}": torch.from_numpy(values) for n, values in outcome.reports.items()}
    return _pack(preamble, tensors)


def unpack_outcome(content: bytes, num_forget: int) -> Outcome:
    """The same again.

    Raises:
        ValueError: it is not what `pack_outcome` writes.
    """
    try:
        text, tensors = _unpack(content)
        preamble = _OutcomePreamble.model_validate_json(text)
    except (SafetensorError, KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"what the method's process gave back is unreadable: {error}") from None
    reports = _below(tensors, "report.")
    for name, values_N in reports.items():
        if name not in REPORTS or not _is_report(name, values_N, num_forget):
            raise ValueError(f"the method's process gave back a bad report {name!r}")
    weights = _below(tensors, "weights.") if preamble.status == "ok" else None
    return Outcome(
        **preamble.model_dump(),
        weights=weights,
        reports={name: values_N.numpy() for name, values_N in reports.items()},
    )


def _is_report(name: str, values_N: Tensor, num_forget: int) -> bool:
    kind = torch.bool if name == "easy" else torch.float32
    return (
        values_N.dtype == kind
        and values_N.shape == (num_forget,)
        and bool(values_N.isfinite().all())
    )
