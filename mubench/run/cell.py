"""One cell: one method on one case with one seed, measured into one record.

The clock runs around the method alone: around `unlearn()` in this process, and from its import on
in one of its own. Golds are read only after the clock has stopped. The model that a method returns
is never run as it is. Its weights are checked and put into a network that the harness built, and
that network is scored.
"""

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mubench._util.errors import DoesNotHold, UserError
from mubench._util.files import write_atomic
from mubench._util.hashing import derive_seed
from mubench._util.messages import printable
from mubench.gold.identity import Trained, UpdateLogRef
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.method.access import GOLD_LABELS, GOLD_PROBABILITIES, SHARDS, UPDATE_LOG
from mubench.method.discovery import MethodInfo
from mubench.method.global_state import restored
from mubench.method.meter import Meter
from mubench.method.operations import counted_operations
from mubench.method.parameters import resolved_parameters
from mubench.method.presets import changed_parameters
from mubench.method.problem import Method, MethodInputs, Problem
from mubench.record import metrics
from mubench.record.flags import Flag
from mubench.record.folder import ResultsFolder
from mubench.record.readout import StoredReadout
from mubench.record.schema import Cost, GoldReference, Record, RecordHead
from mubench.task.spec import Case, Task
from mubench.training import loop
from mubench.training.networks import contiguous_tensors

from .execute import BadModelError, MethodOutcome, describe_error, execute
from .flags import COMPARED, find_flags
from .isolation import wire_format
from .isolation.host import Described, Isolation, time_limit
from .machine import device_name, git_revision, harness_sha256, versions


@dataclass(frozen=True)
class Cell:
    """What is to be measured: a method with its parameters, on a case, with a seed."""

    case: Case
    """The forget set."""
    method: MethodInfo
    """The method: `Described` if a process of its own is to run it."""
    instance: Method | None
    """The method with its parameters. None: only an isolated process imports the method."""
    seed: int
    """Seed of the run."""
    preset: str = ""
    """Name of the instance's preset. A description has its own."""
    tuning_epochs: float | None = None
    """What the search for the instance's preset cost. A description has its own."""

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the method, defaults included, as JSON values."""
        if isinstance(self.method, Described):
            return self.method.parameters
        assert self.instance
        return resolved_parameters(self.instance)

    @property
    def origin(self) -> dict[str, Any]:
        """What a record says of where the parameters come from, by name."""
        if isinstance(self.method, Described):
            names = ("preset", "tuning_epochs", "changed")
            return {name: getattr(self.method, name) for name in names}
        assert self.instance
        changed = changed_parameters(self.instance, self.parameters)
        return {"preset": self.preset, "tuning_epochs": self.tuning_epochs, "changed": changed}

    @property
    def label(self) -> str:
        """What to call the cell in a line."""
        return f"{self.method.name} on {self.case.id}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Measured:
    """What measuring a cell gave, nothing of it written yet. It can be pickled."""

    record: Record
    """The record, whatever became of the method."""
    readout: bytes | None
    """The npz of the record's readout. None: the run failed and has none."""
    references: tuple[bytes, ...]
    """The npz of each readout in `ResultsFolder.references`: the golds', then the original's."""
    trace: str
    """The traceback of a method that raised."""

    def write(self, results: ResultsFolder) -> Path:
        """Writes the record and its readouts; returns the record's file."""
        for path, content in zip(results.references(self.record), self.references, strict=True):
            write_atomic(path, content)
        return results.write(self.record, self.readout)


@dataclass(frozen=True)
class Measurement:
    """The record that measuring a cell left."""

    record: Record
    """The record, whatever became of the method."""
    path: Path
    """The record's file."""
    reused: bool
    """True if the same code had measured the same cell before, so nothing was run."""
    trace: str = ""
    """The traceback of a method that raised."""


def check_fits(method: MethodInfo, task: Task) -> None:
    """Refuses a method that asks for what the original of a task cannot give.

    Args:
        method: what is to be measured.
        task: where.

    Raises:
        UserError: the method needs shards, and the original is one network; or it needs a log of
            updates, and the original is an ensemble.
    """
    if SHARDS in method.requires and task.model.shards is None:
        raise UserError(
            f"{method.name} needs an original that is an ensemble over shards, and that of "
            f"{task.name} is one network; take a task whose [model] states shards"
        )
    if UPDATE_LOG in method.requires and task.model.shards is not None:
        raise UserError(
            f"{method.name} needs a log of one network's updates, and the original of {task.name} "
            "is an ensemble over shards; take a task whose [model] states no shards"
        )


def measure(
    library: GoldLibrary,
    cell: Cell,
    results: ResultsFolder,
    *,
    again: bool = False,
    save_weights: Path | None = None,
    isolation: Isolation | None = None,
    exclusive_device: bool | None = None,
) -> Measurement:
    """Measures a cell and writes its record; the original and the golds must be cached.

    Args:
        library: the task with its data and its models.
        cell: what to measure.
        results: where records go.
        again: True to measure even if the same code has measured the same cell before.
        save_weights: where to put the unlearned model's weights as safetensors, if anywhere.
        isolation: where to run a cell whose method is only described.
        exclusive_device: what the record's cost says of the device, see `Cost`.

    Returns:
        The measurement. A method that raises has a record whose status says so.
    """
    head = head_of(library.loaded, cell)
    if not again and not save_weights and (found := results.earlier(head)):
        return Measurement(found, results.record(head), reused=True)
    measured = measure_anew(
        library,
        cell,
        head,
        save_weights=save_weights,
        isolation=isolation,
        exclusive_device=exclusive_device,
    )
    path = measured.write(results)
    return Measurement(measured.record, path, reused=False, trace=measured.trace)


def measure_anew(
    library: GoldLibrary,
    cell: Cell,
    head: RecordHead,
    *,
    save_weights: Path | None = None,
    isolation: Isolation | None = None,
    exclusive_device: bool | None = None,
) -> Measured:
    """Measures a cell and writes nothing; the original and the golds must be cached.

    Args:
        library: the task with its data and its models.
        cell: what to measure.
        head: what `head_of` says of the cell.
        save_weights: where to put the unlearned model's weights as safetensors, if anywhere.
        isolation: where to run a cell whose method is only described.
        exclusive_device: what the record's cost says of the device, see `Cost`.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    loaded = library.loaded
    outcome, retrain_seconds = _run(library, cell, head, isolation)
    if outcome.printed:
        sys.stderr.write(printable(outcome.printed).removesuffix("\n") + "\n")
    unlearned = accept(loaded, outcome)
    cost = _cost(loaded, cell.case, outcome, retrain_seconds, exclusive_device)
    flags = (
        *outcome.flags,
        *[Flag.OVER_BUDGET] * cost.is_over(head.budget),
        *[Flag.UNCOUNTED_WORK] * cost.is_uncounted(),
    )
    scored: dict[str, Any] = {"flags": flags}
    stored: StoredReadout | None = None
    nothing: StoredReadout | None = None
    golds: Sequence[StoredReadout] = ()
    if unlearned is not None:
        try:
            readout = loaded.readout(unlearned, cell.case)
        except loop.Diverged as error:  # finite weights can give infinite outputs
            outcome.status, outcome.error = "diverged", str(error)
        else:
            stored = StoredReadout.of(readout, "the readout of the unlearned model")
            golds = library.readouts(cell.case)
            nothing = _nothing(library, cell)
            scored = _score(
                library, cell, unlearned, stored, golds, nothing, outcome.reports, flags
            )
            if save_weights:
                content = safetensors.torch.save(contiguous_tensors(unlearned.state_dict()))
                write_atomic(save_weights, content)
    record = Record.of(
        head,
        status=outcome.status,
        error=outcome.error,
        isolation=outcome.isolation,
        cost=cost,
        git_revision=git_revision(),
        started_at=started_at,
        **scored,
    )
    return Measured(
        record,
        stored.content if stored else None,
        (*(gold.content for gold in golds), *([nothing.content] if nothing else [])),
        outcome.trace,
    )


def head_of(loaded: LoadedTask, cell: Cell, threads: int | None = None) -> RecordHead:
    """The head of a cell's record, known before the cell is measured.

    Args:
        loaded: the task.
        cell: what is measured.
        threads: of the CPU, for the method. None: those that this process has.
    """
    task, method = loaded.task, cell.method
    return RecordHead(
        task=task.id,
        spec_sha=task.spec_sha,
        data_fingerprint=loaded.data.fingerprint,
        case=cell.case.id,
        forget_sha256=loaded.forget_sha256(cell.case),
        original_seed=loaded.original(cell.case, cell.seed).seed,
        original_key=loaded.original(cell.case, cell.seed).key,
        method=method.name,
        distribution=method.distribution,
        distribution_version=method.distribution_version,
        source_sha256=method.source_sha256,
        harness_sha256=harness_sha256(),
        requires=tuple(sorted(method.requires)),
        control=method.control,
        parameters=cell.parameters,
        **cell.origin,
        seed=cell.seed,
        isolated=isinstance(method, Described),
        budget=task.measure.budget,
        device=device_name(loaded.device),
        threads=threads or torch.get_num_threads(),
        precision=task.train.precision,
        versions=versions(),
    )


def failed_record(head: RecordHead, outcome: MethodOutcome) -> Record:
    """The record of a measurement that broke off before there was anything to score."""
    return Record.of(
        head,
        status=outcome.status,
        error=outcome.error,
        git_revision=git_revision(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _run(
    library: GoldLibrary, cell: Cell, head: RecordHead, isolation: Isolation | None
) -> tuple[MethodOutcome, float]:
    """Runs the method; returns what it left, and the seconds that retraining takes here.

    Training steps are timed just before and just after, with the threads and under the counter of
    operations that the method gets.
    """
    loaded = library.loaded
    inputs = method_inputs(library, cell)
    with counted_operations():
        step_seconds = loaded.time_steps()
    if isinstance(cell.method, Described):
        assert isolation, "a method that is only described needs a place to run"
        limit = time_limit(head.budget, loaded.retrain_seconds(step_seconds, cell.case))
        outcome = isolation.run(cell.method, inputs, limit)
    else:
        assert cell.instance
        outcome = run_here(cell.instance, inputs)
    with counted_operations():
        step_seconds += loaded.time_steps()
    return outcome, loaded.retrain_seconds(step_seconds, cell.case)


def run_here(method: Method, inputs: MethodInputs) -> MethodOutcome:
    """Runs a method in this process; what it left, after a check as of one that came from afar."""
    meter, printed = Meter(), _Printed()
    problem = Problem(inputs, meter)
    # Because stdout is for data only, what a method prints there goes to stderr afterwards.
    with restored(), redirect_stdout(printed):
        left = execute(method, problem, meter)
        content = wire_format.pack_outcome(left)
    try:
        outcome = wire_format.unpack_outcome(content, inputs.num_forget)
    except DoesNotHold as error:
        outcome = MethodOutcome("error", str(error), usage=left.usage)
    outcome.printed = printed.getvalue()
    return outcome


class _Printed(io.StringIO):
    """What a method prints, also if the method closes its stdout."""

    def close(self) -> None:
        """Does nothing, so that the text can still be read."""


def method_inputs(library: GoldLibrary, cell: Cell) -> MethodInputs:
    """All that a cell's method gets; the original, and the log if asked for, must be cached."""
    loaded, requires = library.loaded, cell.method.requires
    original = loaded.original(cell.case, cell.seed)
    forget, retain = loaded.split(cell.case)
    access: dict[str, Any] = {"forget": forget, "retain": retain}
    if "holdout" in requires:  # a copy, as the others are, so that the next method gets it whole
        access["holdout"] = loaded.holdout[torch.arange(len(loaded.holdout))]
    if "training_log" in requires:
        access["training_log"] = deepcopy(library.training_log(original))
    if UPDATE_LOG in requires:
        access[UPDATE_LOG] = library.update_log(loaded.update_log_ref(original), cell.case)
    if SHARDS in requires:
        access[SHARDS] = loaded.task.model.shards
    if GOLD_LABELS in requires:
        access[GOLD_LABELS] = _gold_labels(library, cell.case)
    if GOLD_PROBABILITIES in requires:
        access[GOLD_PROBABILITIES] = _gold_probabilities(library, cell.case)
    return MethodInputs(
        original=library.model(_start(loaded, cell)).state_dict(),
        access={name: access[name] for name in requires},
        requires=requires,
        num_forget=len(forget),
        # Copies, because a method in this process may change them in place.
        architecture=deepcopy(loaded.architecture),
        data=deepcopy(loaded.task.data),
        recipe=deepcopy(loaded.task.train),
        # Otherwise all cases would share what a seed draws, such as an untrained network.
        seed=derive_seed("method seed", cell.seed, cell.case.id),
        device=loaded.device,
    )


def _start(loaded: LoadedTask, cell: Cell) -> Trained:
    """The original that a method starts from. With a log of updates, it is the one of the log."""
    original = loaded.original(cell.case, cell.seed)
    return loaded.update_log_ref(original) if UPDATE_LOG in cell.method.requires else original


def _nothing(library: GoldLibrary, cell: Cell) -> StoredReadout:
    """The readout of the original that a method starts from."""
    start = _start(library.loaded, cell)
    if isinstance(start, UpdateLogRef):
        readout = library.loaded.readout(library.model(start), cell.case)
        return StoredReadout.of(readout, start.label)
    return library.readout(start, cell.case)


def _gold_labels(library: GoldLibrary, case: Case) -> Tensor:
    """Bool (N,): true where most golds are right on a sample of D_f."""
    right_GN = np.stack([gold.readout.forget_right_N for gold in library.readouts(case)])
    labels = torch.from_numpy(right_GN).float().mean(0).gt(0.5)
    return labels.to(library.loaded.device)


def _gold_probabilities(library: GoldLibrary, case: Case) -> Tensor:
    """Float32 (N, K): the golds' mean softmax output on a sample of D_f."""
    probs_GNK = np.stack([gold.readout.forget_probs_NK for gold in library.readouts(case)])
    return torch.from_numpy(probs_GNK.mean(0)).float().to(library.loaded.device)


def accept(loaded: LoadedTask, outcome: MethodOutcome) -> nn.Module | None:
    """The network to be scored. None if there is none, and the outcome then says why."""
    if outcome.weights is None:
        return None
    try:
        model = _rebuild(loaded, outcome.weights)
    except BadModelError as error:
        outcome.status, outcome.error = "error", describe_error(error)
        return None
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        outcome.status, outcome.error = "diverged", "the returned weights are not all finite"
        return None
    return model


def _rebuild(loaded: LoadedTask, given: Mapping[str, Tensor]) -> nn.Module:
    """A network of the harness's own with the returned weights.

    Raises:
        BadModelError: names, shapes or dtypes differ from the original's.
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


def _cost(
    loaded: LoadedTask,
    case: Case,
    outcome: MethodOutcome,
    retrain_seconds: float,
    exclusive_device: bool | None,
) -> Cost:
    num_forget = len(loaded.forget_indices(case))
    return Cost.of(
        outcome.usage,
        retrain_seconds=retrain_seconds,
        exclusive_device=exclusive_device,
        epochs=loaded.task.train.epochs,
        num_forget=num_forget,
        num_retain=len(loaded.train) - num_forget,
    )


def _score(
    library: GoldLibrary,
    cell: Cell,
    unlearned: nn.Module,
    stored: StoredReadout,
    golds: Sequence[StoredReadout],
    nothing: StoredReadout,
    reports: Mapping[str, np.ndarray[Any, Any]],
    flags: tuple[str, ...],
) -> dict[str, Any]:
    """The fields of a record that follow from the readouts, by name."""
    loaded, own, others = library.loaded, stored.readout, [gold.readout for gold in golds]
    forget, retain = loaded.split(cell.case)
    some = forget[:COMPARED] + retain[:COMPARED]
    found = find_flags(
        unlearned,
        library.model(_start(loaded, cell)),
        own,
        others,
        outputs=lambda model: loop.predict(model, some, loaded.pipeline),
    )
    return {
        "metrics": metrics.score(own, others, reports),
        "floor": metrics.floor(others),
        "nothing": metrics.score(nothing.readout, others),
        "nothing_readout_sha256": nothing.sha256,
        "golds": tuple(
            GoldReference(key=ref.key, seed=ref.seed, readout_sha256=gold.sha256)
            for ref, gold in zip(loaded.golds(cell.case), golds, strict=True)
        ),
        "readout_sha256": stored.sha256,
        "reports": {name: values_N.tolist() for name, values_N in reports.items()},
        "flags": (*flags, *found),
    }
