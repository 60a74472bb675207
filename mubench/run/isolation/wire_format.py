"""What crosses the border of an isolated process, as safetensors and never as pickles.

An outcome was made by a stranger's code, so everything in it is checked. An outcome of a run in the
harness's own process goes the same way, so that the same things are refused.
"""

import traceback
from dataclasses import asdict
from typing import Annotated, Any

import safetensors.torch
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from mubench._util.errors import DoesNotHold
from mubench.method.access import GOLD_ACCESS, REPORTS, SHARDS, UPDATE_LOG
from mubench.method.problem import MethodInputs
from mubench.record.schema import Status, Usage
from mubench.run.execute import MethodOutcome, Tensors, describe_error
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, TrainSpec
from mubench.training.loop import EpochLog
from mubench.training.networks import Architecture, contiguous_tensors

PREAMBLE = "json"
"""Name of the tensor that holds, as bytes of JSON text, all that is no tensor."""

SETS = ("forget", "retain", "holdout")


class _InputsPreamble(BaseModel):
    """The fields of `MethodInputs` that are no tensors, under the same names."""

    model_config = ConfigDict(from_attributes=True)

    requires: frozenset[str]
    num_forget: int
    architecture: Architecture
    data: DataSpec
    recipe: TrainSpec
    seed: int
    device: Annotated[str, BeforeValidator(str)]
    training_log: list[dict[str, Any]] | None = None


class _OutcomePreamble(BaseModel):
    """The fields of `MethodOutcome` that the method's process may tell and that are no tensors."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    status: Status
    error: str | None
    trace: str
    usage: Usage


def _pack(preamble: BaseModel, tensors: Tensors) -> bytes:
    text = torch.frombuffer(bytearray(preamble.model_dump_json().encode()), dtype=torch.uint8)
    return safetensors.torch.save({PREAMBLE: text, **contiguous_tensors(tensors)})


def _unpack(content: bytes) -> tuple[bytes, Tensors]:
    tensors = safetensors.torch.load(content)
    return tensors.pop(PREAMBLE).numpy().tobytes(), tensors


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def pack_inputs(inputs: MethodInputs) -> bytes:
    """The bytes that the isolated process gets: what the method declared, and nothing else."""
    access = inputs.access
    preamble = _InputsPreamble.model_validate(inputs)
    if "training_log" in access:
        preamble.training_log = [asdict(line) for line in access["training_log"]]
    tensors = {f"original.{name}": value for name, value in inputs.original.items()}
    for name in SETS:
        if name in access:
            tensors |= {
                f"{name}.images": access[name].images,
                f"{name}.labels": access[name].labels,
            }
    tensors |= {name: access[name] for name in GOLD_ACCESS if name in access}
    tensors |= {f"{UPDATE_LOG}.{n}": value for n, value in access.get(UPDATE_LOG, {}).items()}
    return _pack(preamble, tensors)


def unpack_inputs(content: bytes) -> MethodInputs:
    """The inputs that `pack_inputs` packed, on their device."""
    text, tensors = _unpack(content)
    preamble = _InputsPreamble.model_validate_json(text)
    fields = dict(preamble)
    log, device = fields.pop("training_log"), torch.device(fields.pop("device"))
    access: dict[str, Any] = {}
    for name in SETS:
        if name in preamble.requires:
            images, labels = tensors[f"{name}.images"], tensors[f"{name}.labels"]
            access[name] = Samples(images, labels).to(device)
    for name in GOLD_ACCESS & preamble.requires:
        access[name] = tensors[name].to(device)
    if UPDATE_LOG in preamble.requires:
        updates = _below(tensors, f"{UPDATE_LOG}.")
        access[UPDATE_LOG] = {name: value.to(device) for name, value in updates.items()}
    if SHARDS in preamble.requires:
        access[SHARDS] = preamble.architecture.spec.shards
    if log is not None:
        access["training_log"] = tuple(EpochLog(**line) for line in log)
    original = _below(tensors, "original.")
    return MethodInputs(original=original, access=access, device=device, **fields)


def pack_outcome(outcome: MethodOutcome) -> bytes:
    """The bytes that a run gives back; what cannot be written makes the outcome an error."""
    try:
        return _pack_outcome(outcome)
    except Exception as error:  # weights or reports of a kind that cannot be written
        outcome.status, outcome.error = "error", describe_error(error)
        outcome.trace = traceback.format_exc()
        outcome.weights, outcome.reports = None, {}
        return _pack_outcome(outcome)


def _pack_outcome(outcome: MethodOutcome) -> bytes:
    preamble = _OutcomePreamble.model_validate(outcome)
    tensors = {f"weights.{name}": value for name, value in (outcome.weights or {}).items()}
    tensors |= {f"report.{n}": torch.from_numpy(values) for n, values in outcome.reports.items()}
    return _pack(preamble, tensors)


def unpack_outcome(content: bytes, num_forget: int) -> MethodOutcome:
    """The outcome that `pack_outcome` packed.

    Args:
        content: what the run wrote, in a process of its own or in this one.
        num_forget: |D_f|, which is the length of every report.

    Raises:
        DoesNotHold: the content is not what `pack_outcome` writes.
    """
    try:
        text, tensors = _unpack(content)
        preamble = _OutcomePreamble.model_validate_json(text)
    except (SafetensorError, KeyError, TypeError, ValidationError) as error:
        raise DoesNotHold(f"what the method's process gave back is unreadable: {error}") from None
    reports = _below(tensors, "report.")
    for name, values_N in reports.items():
        if name not in REPORTS or not _is_report(name, values_N, num_forget):
            raise DoesNotHold(f"the method's process gave back a bad report {name!r}")
    weights = _below(tensors, "weights.") if preamble.status == "ok" else None
    return MethodOutcome(
        **dict(preamble),
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
