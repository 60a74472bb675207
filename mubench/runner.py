"""One cell: one method on one case with one seed, measured into one record.

The clock runs around `unlearn()` alone. Golds are read only after it has stopped. What a method
returns is never run as it is: its weights are checked and put into a network that the harness
built, and that network is scored.
"""

import io
import platform
import resource
import subprocess
import sys
import time
import traceback
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from . import golds, metrics, training
from .golds import LoadedTask
from .methods import MethodClass, resolved_parameters
from .metrics import Readout
from .problem import GOLD_LABELS, Meter, Method, Problem
from .records import (
    Cost,
    GoldReference,
    Metric,
    Record,
    Status,
    gold_path,
    parse_readout,
    read_record,
    readout_bytes,
    record_path,
    sha256_of,
    write_record,
)
from .store import Store, write_atomic
from .task import Case, derive_seed, digest

PACKAGES = ("mubench", "torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy")


class BadModelError(RuntimeError):
    """What a method returned is not the original's architecture with finite weights."""


@dataclass(frozen=True)
class Cell:
    """What is to be measured."""

    case: Case
    method: MethodClass
    instance: Method
    seed: int

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
) -> Measured:
    """Measures a cell and writes its record; original and golds must be cached.

    Args:
        loaded: the task with its data.
        store: the cache.
        cell: what to measure.
        results: folder of records.
        again: measure even if the same code has measured the same cell before.
        save_weights: where to put the unlearned model's weights as safetensors, if anywhere.

    Returns:
        The record, whatever became of the method: one that raises has a status that says so.
    """
    record = _blank_record(loaded, cell)
    path = record_path(results, record)
    if not again and not save_weights and (earlier := _earlier(path, record)):
        return Measured(earlier, path, reused=True)

    meter = Meter()
    problem = _make_problem(loaded, store, cell, meter)
    device = loaded.device
    step_seconds = _time_steps(loaded)
    trace, error, unlearned = "", None, None
    status: Status = "ok"
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    printed = io.StringIO()
    training.synchronise(device)
    started = time.perf_counter()
    try:
        # stdout is for data only: what a method prints there is not ours to pass on as such
        with redirect_stdout(printed), training.forked_rng(device):
            torch.manual_seed(problem.seed_for("global"))
            returned = cell.instance.unlearn(problem)
        training.synchronise(device)
        seconds = time.perf_counter() - started
        unlearned = _rebuild(loaded, returned)
    except Exception as raised:
        seconds = time.perf_counter() - started
        status = "diverged" if isinstance(raised, training.Diverged) else "error"
        error = f"{type(raised).__name__}: {raised}".partition("\n")[0]
        trace = traceback.format_exc()
    peak_memory_bytes = _peak_memory_bytes(device)
    step_seconds += _time_steps(loaded)
    if unlearned is not None and not _is_finite(unlearned):
        status, error, unlearned = "diverged", "the returned weights are not all finite", None
    if printed.getvalue():
        sys.stderr.write(printed.getvalue())

    cost = _cost(loaded, cell, meter, seconds, median(step_seconds), peak_memory_bytes)
    flags = []
    if cost.epochs_equivalent > record.budget * cost.retrain_epochs_equivalent:
        flags.append("over-budget")
    record = record.model_copy(
        update={"status": status, "error": error, "cost": cost, "flags": tuple(flags)}
    )
    content = None
    if unlearned is not None:
        try:
            readout = loaded.readout(unlearned, cell.case)
        except ValueError as bad:  # finite weights, infinite outputs
            record = record.model_copy(update={"status": "diverged", "error": str(bad)})
        else:
            content = readout_bytes(readout)
            record = _score(loaded, store, cell, record, readout, content, problem, results)
            if save_weights:
                _save_weights(unlearned, save_weights)
    return Measured(record, write_record(results, record, content), reused=False, trace=trace)


def _earlier(path: Path, record: Record) -> Record | None:
    if not path.is_file():
        return None
    try:
        earlier = read_record(path)
        readout = path.with_suffix(".npz").read_bytes()
    except (ValueError, OSError):
        return None
    whole = earlier.status == "ok" and sha256_of(readout) == earlier.readout_sha256
    return earlier if whole and earlier.measures_the_same_as(record) else None


def _make_problem(loaded: LoadedTask, store: Store, cell: Cell, meter: Meter) -> Problem:
    forget, retain = loaded.split(cell.case)
    requires = cell.method.requires
    access: dict[str, Any] = {"forget": forget, "retain": retain}
    # copies, as the others are: the next method gets them as they were
    access["holdout"] = loaded.holdout[torch.arange(len(loaded.holdout))]
    if "training_log" in requires:
        access["training_log"] = golds.training_log(store, loaded.original)
    if GOLD_LABELS in requires:
        access[GOLD_LABELS] = _gold_labels(loaded, store, cell.case)
    return Problem(
        original=golds.load_weights(loaded, store, loaded.original),
        fresh=loaded.fresh,
        access=access,
        requires=requires,
        num_classes=len(loaded.data.class_names),
        recipe=loaded.task.train,
        pipeline=loaded.pipeline,
        seed=derive_seed("method seed", cell.seed),
        meter=meter,
    )


def _gold_labels(loaded: LoadedTask, store: Store, case: Case) -> Tensor:
    right = [
        torch.from_numpy(parse_readout(golds.gold_readout(loaded, store, ref), ref.label)
                         .forget_right_N)
        for ref in loaded.golds(case)
    ]  # fmt: skip
    return torch.stack(right).float().mean(0).gt(0.5).to(loaded.device)


def _time_steps(loaded: LoadedTask) -> list[float]:
    """Seconds of a few training steps, on this device with the threads that methods get."""
    return training.step_seconds(loaded.fresh(0), loaded.train, loaded.task.train, loaded.pipeline)


def _rebuild(loaded: LoadedTask, returned: object) -> nn.Module:
    """A network of the harness's own with the returned weights.

    Raises:
        BadModelError: not a module, or other names, shapes or dtypes than the original's.
    """
    if not isinstance(returned, nn.Module):
        raise BadModelError(f"unlearn() returned {type(returned).__name__}, not an nn.Module")
    model = loaded.fresh(0)
    expected, given = model.state_dict(), returned.state_dict()
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


def _is_finite(model: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())


def _save_weights(model: nn.Module, path: Path) -> None:
    tensors = {
        name: value.cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    write_atomic(path, safetensors.torch.save(tensors))


def _cost(
    loaded: LoadedTask,
    cell: Cell,
    meter: Meter,
    seconds: float,
    seconds_per_step: float,
    peak_memory_bytes: int,
) -> Cost:
    recipe = loaded.task.train
    num_train = len(loaded.train)
    num_retain = num_train - len(loaded.forget_indices(cell.case))
    num_steps = training.num_batches(num_retain, recipe.batch_size) * recipe.epochs
    return Cost(
        seconds=seconds,
        retrain_seconds=seconds_per_step * num_steps,
        epochs_equivalent=meter.epochs_equivalent(num_train),
        retrain_epochs_equivalent=recipe.epochs * num_retain / num_train,
        forward_samples=meter.forward_samples,
        backward_samples=meter.backward_samples,
        peak_memory_bytes=peak_memory_bytes,
    )


def _score(
    loaded: LoadedTask,
    store: Store,
    cell: Cell,
    record: Record,
    readout: Readout,
    content: bytes,
    problem: Problem,
    results: Path,
) -> Record:
    refs = loaded.golds(cell.case)
    contents = [golds.gold_readout(loaded, store, ref) for ref in refs]
    readouts = [parse_readout(c, ref.label) for c, ref in zip(contents, refs, strict=True)]
    scores = metrics.score(readout, readouts, problem.reports)
    references = tuple(
        GoldReference(key=ref.key, seed=ref.seed, readout_sha256=sha256_of(c))
        for ref, c in zip(refs, contents, strict=True)
    )
    scored = record.model_copy(
        update={
            "metrics": {name: Metric(**asdict(s)) for name, s in scores.items()},
            "floor": {name: Metric(**asdict(s)) for name, s in metrics.floor(readouts).items()},
            "golds": references,
            "readout_sha256": sha256_of(content),
            "reports": {name: values.tolist() for name, values in problem.reports.items()},
        }
    )
    for reference, gold_content in zip(references, contents, strict=True):
        write_atomic(gold_path(results, scored, reference), gold_content)
    return scored


def _blank_record(loaded: LoadedTask, cell: Cell) -> Record:
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
        harness_sha256=_harness_sha256(),
        requires=tuple(sorted(method.requires)),
        control=method.is_control,
        parameters=resolved_parameters(cell.instance),
        seed=cell.seed,
        status="ok",
        budget=task.measure.budget,
        device=_device_name(loaded.device),
        threads=torch.get_num_threads(),
        precision=task.train.precision,
        versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        git_revision=_git_revision(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@cache
def _harness_sha256() -> str:
    """Of every source file of the harness."""
    folder = Path(__file__).parent
    return digest([[p.name, sha256_of(p.read_bytes())] for p in sorted(folder.glob("*.py"))])


@cache
def _git_revision() -> str | None:
    """Of the checkout that the harness runs from; None for an installed package."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def pick_device(name: str) -> torch.device:
    """A device by name; `auto` is the first GPU where there is one.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name!r} is none: cpu, cuda, cuda:1 or auto") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device {name!r} is none of cpu, cuda, cuda:1, auto")
    return device
