"""One cell: one method on one case with one seed, measured into one record.

The clock runs around `unlearn()` alone, in this process or in one of its own (`isolate`). Golds are
read only after it has stopped. What a method returns is never run as it is: its weights are checked
and put into a network that the harness built, and that network is scored.
"""

import io
import platform
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold
from mubench._util.files import write_atomic
from mubench._util.hashing import derive_seed, sha256_of
from mubench.gold import cached
from mubench.gold.loaded import LoadedTask
from mubench.method.access import GOLD_LABELS
from mubench.method.discovery import MethodClass
from mubench.method.parameters import resolved_parameters
from mubench.method.problem import Meter, Method
from mubench.record import metrics
from mubench.record.folder import gold_path, read_record, record_path, write_record
from mubench.record.readout import Readout, parse_readout, readout_bytes
from mubench.record.schema import Cost, GoldReference, Metric, Record, epochs_equivalent
from mubench.run.isolation.host import Described, Isolation, time_limit
from mubench.task.spec import Case
from mubench.training import loop

from .execute import BadModelError, Inputs, Outcome, attempt, describe_error
from .flags import find_flags
from .machine import PACKAGES, device_name, git_revision, harness_sha256, peak_memory_bytes


@dataclass(frozen=True)
class Cell:
    """What is to be measured."""

    case: Case
    method: MethodClass | Described
    instance: Method | None  # None: only an isolated process imports the method
    seed: int

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the method."""
        if isinstance(self.method, Described):
            return self.method.parameters
        assert self.instance
        return resolved_parameters(self.instance)

    @property
    def label(self) -> str:
        """What to call it in a line."""
        return f"{self.method.name} on {self.case.id}, seed {self.seed}"


@dataclass(frozen=True)
class Measured:
    """What a run of a cell left: its record on disk and how it went."""

    record: Record
    path: Path
    reused: bool  # the record was there already, made by the same code from the same inputs
    trace: str = ""  # the traceback of a method that raised


def measure(
    loaded: LoadedTask,
    store: Store,
    cell: Cell,
    results: Path,
    *,
    again: bool = False,
    save_weights: Path | None = None,
    isolation: Isolation | None = None,
) -> Measured:
    """Measures a cell and writes its record; original and golds must be cached.

    Args:
        loaded: the task with its data.
        store: the cache.
        cell: what to measure.
        results: folder of records.
        again: measure even if the same code has measured the same cell before.
        save_weights: where to put the unlearned model's weights as safetensors, if anywhere.
        isolation: where to run a cell whose method is only described.

    Returns:
        The record, whatever became of the method: one that raises has a status that says so.
    """
    record = blank_record(loaded, cell)
    path = record_path(results, record)
    if not again and not save_weights and (found := earlier(path, record)):
        return Measured(found, path, reused=True)

    inputs = _inputs(loaded, store, cell)
    step_seconds = _time_steps(loaded)
    if isinstance(cell.method, Described):
        assert isolation
        retrain_seconds = median(step_seconds) * _retrain_steps(loaded, cell.case)
        limit_seconds = time_limit(record.budget, retrain_seconds)
        outcome = isolation.run(cell.method, inputs, limit_seconds)
    else:
        assert cell.instance
        outcome = _attempt_here(cell.instance, inputs)
    step_seconds += _time_steps(loaded)
    if outcome.printed:
        sys.stderr.write(outcome.printed)
    unlearned = _accept(loaded, outcome)

    cost = _cost(loaded, cell.case, outcome, median(step_seconds))
    flags = list(outcome.flags)
    if cost.epochs_equivalent > record.budget * cost.retrain_epochs_equivalent:
        flags.append("over-budget")
    record = record.model_copy(
        update={
            "status": outcome.status,
            "error": outcome.error,
            "cost": cost,
            "flags": tuple(flags),
        }
    )
    content = None
    if unlearned is not None:
        try:
            readout = loaded.readout(unlearned, cell.case)
        except loop.Diverged as bad:  # finite weights, infinite outputs
            record = record.model_copy(update={"status": "diverged", "error": str(bad)})
        else:
            content = readout_bytes(readout)
            record = _score(loaded, store, cell, record, unlearned, readout, content,
                            outcome.reports, results)  # fmt: skip
            if save_weights:
                _save_weights(unlearned, save_weights)
    written = write_record(results, record, content)
    return Measured(record, written, reused=False, trace=outcome.trace)


def write_note(record: Record, path: Path, text: str) -> Path:
    """Puts what happened beside the record of a failure; away with it where there is none."""
    note = path.with_suffix(".traceback.txt")
    if record.status == "ok":
        note.unlink(missing_ok=True)
    else:
        write_atomic(note, f"{text or record.error}\n".encode())
    return note


def earlier(path: Path, record: Record) -> Record | None:
    """The whole record of a success that lies there and measures the same, if any."""
    if not path.is_file():
        return None
    try:
        found = read_record(path)
        readout = path.with_suffix(".npz").read_bytes()
    except (DoesNotHold, OSError):
        return None
    whole = found.status == "ok" and sha256_of(readout) == found.readout_sha256
    return found if whole and found.measures_the_same_as(record) else None


def _inputs(loaded: LoadedTask, store: Store, cell: Cell) -> Inputs:
    requires = cell.method.requires
    forget, retain = loaded.split(cell.case)
    access: dict[str, Any] = {"forget": forget, "retain": retain}
    if "holdout" in requires:  # a copy, as the others are: the next method gets it as it was
        access["holdout"] = loaded.holdout[torch.arange(len(loaded.holdout))]
    if "training_log" in requires:
        access["training_log"] = cached.training_log(store, loaded.original)
    if GOLD_LABELS in requires:
        access[GOLD_LABELS] = _gold_labels(loaded, store, cell.case)
    return Inputs(
        original=cached.load_weights(loaded, store, loaded.original).state_dict(),
        access={name: access[name] for name in requires},
        requires=requires,
        num_forget=len(forget),
        num_classes=len(loaded.data.class_names),
        channels=loaded.train.images.shape[1],
        data=loaded.task.data,
        model=loaded.task.model,
        recipe=loaded.task.train,
        seed=derive_seed("method seed", cell.seed),
        device=loaded.device,
    )


def _gold_labels(loaded: LoadedTask, store: Store, case: Case) -> Tensor:
    right = [
        torch.from_numpy(parse_readout(cached.gold_readout(loaded, store, ref), ref.label)
                         .forget_right_N)
        for ref in loaded.golds(case)
    ]  # fmt: skip
    return torch.stack(right).float().mean(0).gt(0.5).to(loaded.device)


def _time_steps(loaded: LoadedTask) -> list[float]:
    """Seconds of a few training steps, on this device with the threads that methods get."""
    return loop.step_seconds(loaded.fresh(0), loaded.train, loaded.task.train, loaded.pipeline)


def _attempt_here(method: Method, inputs: Inputs) -> Outcome:
    device, meter, printed = inputs.device, Meter(), io.StringIO()
    problem = inputs.problem(meter)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # stdout is for data only: what a method prints there is not ours to pass on as such
    with redirect_stdout(printed):
        outcome = attempt(method, problem, meter)
    outcome.peak_memory_bytes = peak_memory_bytes(device)
    outcome.printed = printed.getvalue()
    return outcome


def _accept(loaded: LoadedTask, outcome: Outcome) -> nn.Module | None:
    """The network to be scored; None, and the outcome says why, where there is nothing to score."""
    if outcome.weights is None:
        return None
    try:
        model = _rebuild(loaded, outcome.weights)
    except BadModelError as bad:
        outcome.status, outcome.error = "error", describe_error(bad)
        return None
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        outcome.status, outcome.error = "diverged", "the returned weights are not all finite"
        return None
    return model


def _rebuild(loaded: LoadedTask, given: Mapping[str, Tensor]) -> nn.Module:
    """A network of the harness's own with the returned weights.

    Raises:
        BadModelError: other names, shapes or dtypes than the original's.
    """
    model = loaded.fresh(0)
    expected = model.state_dict()
    if missing := expected.keys() - given.keys():
        raise BadModelError(f"the returned model has no {sorted(missing)[0]}")
    if extra := given.keys() - expected.keys():
        raise BadModelError(
            f"the returned model has {sorted(extra)[0]}, which the original has not"
        )
    for name, value in expected.items():
        if given[name].shape != value.shape or given[name].dtype != value.dtype:
            raise BadModelError(
                f"the returned {name} is {given[name].dtype} {tuple(given[name].shape)}, "
                f"the original's {value.dtype} {tuple(value.shape)}"
            )
    model.load_state_dict(given)
    return model.to(memory_format=torch.channels_last).eval()


def _save_weights(model: nn.Module, path: Path) -> None:
    tensors = {
        name: value.cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    write_atomic(path, safetensors.torch.save(tensors))


def _retrain_steps(loaded: LoadedTask, case: Case) -> int:
    recipe = loaded.task.train
    num_retain = len(loaded.train) - len(loaded.forget_indices(case))
    return loop.num_batches(num_retain, recipe.batch_size) * recipe.epochs


def _cost(loaded: LoadedTask, case: Case, outcome: Outcome, seconds_per_step: float) -> Cost:
    num_train = len(loaded.train)
    num_retain = num_train - len(loaded.forget_indices(case))
    return Cost(
        seconds=outcome.seconds,
        retrain_seconds=seconds_per_step * _retrain_steps(loaded, case),
        epochs_equivalent=epochs_equivalent(
            outcome.forward_samples, outcome.backward_samples, num_train
        ),
        retrain_epochs_equivalent=loaded.task.train.epochs * num_retain / num_train,
        forward_samples=outcome.forward_samples,
        backward_samples=outcome.backward_samples,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )


def _score(
    loaded: LoadedTask,
    store: Store,
    cell: Cell,
    record: Record,
    unlearned: nn.Module,
    readout: Readout,
    content: bytes,
    reports: Mapping[str, np.ndarray[Any, Any]],
    results: Path,
) -> Record:
    refs = loaded.golds(cell.case)
    contents = [cached.gold_readout(loaded, store, ref) for ref in refs]
    readouts = [parse_readout(c, ref.label) for c, ref in zip(contents, refs, strict=True)]
    scores = metrics.score(readout, readouts, reports)
    original = cached.load_weights(loaded, store, loaded.original)
    flags = find_flags(unlearned, original, readout, readouts)
    references = tuple(
        GoldReference(key=ref.key, seed=ref.seed, readout_sha256=sha256_of(c))
        for ref, c in zip(refs, contents, strict=True)
    )
    scored = record.model_copy(
        update={
            "metrics": {name: Metric(**asdict(s)) for name, s in scores.items()},
            "floor": {name: Metric(**asdict(s)) for name, s in metrics.floor(readouts).items()},
            "flags": (*record.flags, *flags),
            "golds": references,
            "readout_sha256": sha256_of(content),
            "reports": {name: values.tolist() for name, values in reports.items()},
        }
    )
    for reference, gold_content in zip(references, contents, strict=True):
        write_atomic(gold_path(results, scored, reference), gold_content)
    return scored


def blank_record(loaded: LoadedTask, cell: Cell) -> Record:
    """The record of a cell before it is measured: what it is of, made by which code, where."""
    task, method = loaded.task, cell.method
    return Record(
        task=task.id,
        spec_sha=task.spec_sha,
        data_fingerprint=loaded.data.fingerprint,
        case=cell.case.id,
        forget_sha256=loaded.forget_sha256(cell.case),
        method=method.name,
        distribution=method.distribution,
        distribution_version=method.version,
        source_sha256=method.source_sha,
        harness_sha256=harness_sha256(),
        requires=tuple(sorted(method.requires)),
        control=method.is_control,
        parameters=cell.parameters,
        seed=cell.seed,
        status="ok",
        isolated=isinstance(method, Described),
        budget=task.measure.budget,
        device=device_name(loaded.device),
        threads=torch.get_num_threads(),
        precision=task.train.precision,
        versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        git_revision=git_revision(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
