"""What the workers of a sweep do: train a model, or measure a cell.

A job can be pickled and knows all it needs, so any engine can run it anywhere that sees the cache
and the results. A job never raises: how it went is its result.
"""

import io
import time
import traceback
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from mubench._util.cache import Store
from mubench.gold.build import TrainJob
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import load_once
from mubench.record.folder import ResultsFolder
from mubench.record.schema import RecordHead, Status
from mubench.run.cell import Cell, failed_record, measure
from mubench.run.execute import MethodOutcome
from mubench.run.isolation.host import Isolation, memory_limit
from mubench.task.spec import Task


@dataclass(frozen=True)
class Place:
    """Where jobs find and leave things."""

    cache: Path | str
    """Root of the cache: a folder or a URL."""
    results: Path
    """Folder of records."""
    device: str
    """Name of the device, such as `cpu` or `cuda:0`."""
    num_workers: int
    """Workers that share this machine's memory."""


@dataclass(frozen=True)
class JobResult:
    """How a job went."""

    status: Status
    error: str | None = None
    """What happened, in a line, for a status other than `ok`."""
    seconds: float = 0.0
    """Seconds from the start of the job to its end."""
    trace: str | None = None
    """Traceback of an error of the harness's own, which no record tells of yet."""


@dataclass(frozen=True)
class MeasureJob:
    """A cell to be measured in a worker, the method in a process of its own."""

    task: Task
    place: Place
    cell: Cell
    head: RecordHead
    """What the cell's record says before the cell is measured."""

    def __call__(self) -> JobResult:
        """Measures the cell and writes its record."""
        isolation = _isolation(self.place)  # starts up in the background while the data is loaded
        loaded = load_once(self.task, torch.device(self.place.device))
        library = GoldLibrary(loaded, Store(self.place.cache))
        results = ResultsFolder(self.place.results)
        printed = io.StringIO()
        with redirect_stderr(printed):  # what methods print would tear up the line of progress
            measured = measure(library, self.cell, results, isolation=isolation)
        results.write_note(measured.record, measured.trace + printed.getvalue())
        return JobResult(measured.record.status, measured.record.error)

    def record_failure(self, result: JobResult) -> None:
        """Leaves a record that says that the measurement itself broke off."""
        results = ResultsFolder(self.place.results)
        record = failed_record(self.head, MethodOutcome(result.status, result.error))
        results.write(record, None)
        results.write_note(record, result.trace or "")


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
        started = time.perf_counter()
        try:
            done = self.work()
            result = done if isinstance(done, JobResult) else JobResult("ok")
        except Exception as error:  # a sweep goes on, whatever becomes of one job
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            result = JobResult("error", reason, trace=traceback.format_exc())
        return replace(result, seconds=time.perf_counter() - started)


@cache
def _isolation(place: Place) -> Isolation:
    hidden = [place.results, *([place.cache] if isinstance(place.cache, Path) else [])]
    return Isolation(hidden, memory_limit(place.num_workers))
