"""What the workers of a sweep do: train a model, or measure a cell.

A job can be pickled and knows all it needs, so any engine can run it anywhere that has the entries
of the cache that the job reads. A job never raises: how it went is its result. A measurement comes
back as bytes, and only who planned the sweep writes results.
"""

import io
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from mubench._util.cache import Store
from mubench.gold.build import TrainJob
from mubench.gold.library import MODELS, READOUTS, UPDATE_LOGS, GoldLibrary
from mubench.gold.loaded import LoadedTask, load_once
from mubench.method.access import UPDATE_LOG
from mubench.record.folder import ResultsFolder
from mubench.record.schema import RecordHead, Status
from mubench.run.cell import Cell, Measured, failed_record, head_of, measure_anew
from mubench.run.execute import MethodOutcome
from mubench.run.isolation.host import Described, Isolation, memory_limit
from mubench.run.machine import device_name
from mubench.task.spec import Task

EntryName = tuple[str, str]
"""Kind and key of an entry of the cache."""


@dataclass(frozen=True)
class Place:
    """Where jobs find and leave things, and what a worker is."""

    cache: Path | str
    """Root of the cache: a folder or a URL."""
    results: Path
    """Folder of records. Workers need not see it."""
    device: str
    """Name of a worker's device, such as `cpu` or `cuda:0`."""
    num_workers: int
    """Workers that share a machine's memory."""
    threads: int | None = None
    """Threads of a worker on the CPU. None: as many as torch takes by itself."""
    machine: str | None = None
    """The maker's name of the workers' device. None: that of this process."""
    exclusive_device: bool = False
    """True if a worker has its device to itself, so that seconds can be compared."""
    hidden: tuple[Path, ...] = ()
    """Folders that methods must not see, beside the cache and the results."""


@dataclass(frozen=True, eq=False)
class JobResult:
    """How a job went."""

    status: Status
    error: str | None = None
    """What happened, in a line, for a status other than `ok`."""
    seconds: float = 0.0
    """Seconds from the start of the job to its end."""
    trace: str | None = None
    """Traceback of an error of the harness's own, which no record tells of yet."""
    measured: Measured | None = None
    """What a measurement gave. None: the job was a training, or broke off."""
    printed: str = ""
    """What a measurement wrote to stderr, the method's own words among it."""


@dataclass(frozen=True)
class MeasureJob:
    """A cell to be measured in a worker.

    A method that is only described runs in a process of its own.
    """

    task: Task
    place: Place
    cell: Cell
    head: RecordHead
    """What the cell's record says before the cell is measured."""
    reads: tuple[tuple[EntryName, ...], ...] = ()
    """Per model, the entries of the cache of which one has to be there, the best first."""
    again: bool = False
    """True to measure even if there is a record by now."""
    save_weights: Path | None = None
    """Where to put the unlearned model's weights as safetensors, if anywhere."""

    def __call__(self) -> JobResult:
        """Measures the cell; no record is written."""
        # The process starts up in the background while the data is loaded.
        isolation = _isolation(self.place) if isinstance(self.cell.method, Described) else None
        loaded = load_once(self.task, torch.device(self.place.device))
        if differs := _difference(self.head, head_of(loaded, self.cell)):
            return JobResult("error", f"this worker is not what was planned: {differs}", trace="")
        printed = io.StringIO()
        with redirect_stderr(printed):  # what methods print would tear up the line of progress
            measured = measure_anew(
                GoldLibrary(loaded, Store(self.place.cache)),
                self.cell,
                self.head,
                save_weights=self.save_weights,
                isolation=isolation,
                exclusive_device=self.place.exclusive_device,
            )
        record = measured.record
        return JobResult(record.status, record.error, measured=measured, printed=printed.getvalue())

    @property
    def cache(self) -> Path | str:
        """Root of the cache: a folder or a URL."""
        return self.place.cache

    def is_done(self) -> bool:
        """True if there is a record by now, such as another sweep's."""
        earlier = None if self.again else ResultsFolder(self.place.results).earlier(self.head)
        return earlier is not None

    def keep(self, result: "JobResult") -> None:
        """Writes the record of a result, also if the measurement itself broke off."""
        results = ResultsFolder(self.place.results)
        if result.measured:
            result.measured.write(results)
            results.write_note(result.measured.record, result.measured.trace + result.printed)
        elif result.status != "ok":
            record = failed_record(self.head, MethodOutcome(result.status, result.error))
            results.write(record, None)
            results.write_note(record, result.trace or "")


def _difference(planned: RecordHead, here: RecordHead) -> str:
    """The fields in which a worker differs from the plan; empty if there are none."""
    pairs = {
        name: (getattr(here, name), getattr(planned, name)) for name in RecordHead.model_fields
    }
    return "; ".join(f"{n} is {a}, planned {b}" for n, (a, b) in pairs.items() if a != b)


def reads(loaded: LoadedTask, cell: Cell) -> tuple[tuple[EntryName, ...], ...]:
    """The entries of the cache that measuring a cell reads, as in `MeasureJob.reads`."""
    original = loaded.original(cell.case, cell.seed)
    readout: EntryName = READOUTS, loaded.readout_key(original, cell.case)
    golds = (
        ((READOUTS, loaded.readout_key(ref, cell.case)), (MODELS, ref.key))
        for ref in loaded.golds(cell.case)
    )
    logs: list[tuple[EntryName, ...]] = []
    if UPDATE_LOG in cell.method.requires:
        logs.append(((UPDATE_LOGS, loaded.update_log_ref(original).key),))
    # The original's readout is made where it is missing.
    return ((MODELS, original.key),), (readout,), *golds, *logs


@dataclass(frozen=True)
class Job:
    """One piece of work in a sweep."""

    work: TrainJob | MeasureJob
    label: str
    """What to call the job in a line."""
    estimate_seconds: float
    """Seconds that one worker should need."""
    gives: str
    """Key of the model, or path of the record, that the job makes."""
    needs: frozenset[str] = frozenset()
    """Keys of the models that have to be trained first."""

    def __call__(self) -> JobResult:
        """Performs the work; never raises."""
        return attempt(self.work)


def attempt(work: Callable[[], object]) -> JobResult:
    """Performs a piece of work; what it raises is its result."""
    started = time.perf_counter()
    try:
        done = work()
        result = done if isinstance(done, JobResult) else JobResult("ok")
    except Exception as error:  # a sweep goes on, whatever becomes of one job
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        result = JobResult("error", reason, trace=traceback.format_exc())
    return replace(result, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class DeviceNameJob:
    """Asks a worker for the maker's name of its device."""

    device: str

    def __call__(self) -> str:
        """The name, as records have it."""
        return device_name(torch.device(self.device))


@cache
def _isolation(place: Place) -> Isolation:
    # A machine that has no such folder is not the one that writes results.
    results = [place.results] if place.results.is_dir() else []
    caches = [place.cache] if isinstance(place.cache, Path) else []
    hidden = [*caches, *results, *place.hidden]
    return Isolation(hidden, memory_limit(place.num_workers))
