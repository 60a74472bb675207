"""What the workers of a sweep do: train a model, or measure a cell.

A job can be pickled and knows all it needs, so any engine can run it anywhere that sees the cache
and the results. It never raises: how it went is its result.
"""

import io
import time
import traceback
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mubench._util.cache import Store
from mubench.gold.loaded import LoadedTask, load_once
from mubench.gold.train import train
from mubench.record.folder import write_record
from mubench.record.schema import Record, Status
from mubench.run.cell import Cell, measure, write_note
from mubench.run.isolation.host import Isolation, memory_limit
from mubench.run.machine import pick_device
from mubench.task.spec import Case, TaskSpec


@dataclass(frozen=True)
class Place:
    """Where jobs find and leave things."""

    cache: Path
    results: Path
    device: str
    num_workers: int
    """That share this machine's memory."""


@dataclass(frozen=True)
class Done:
    """How a job went."""

    status: Status
    error: str | None = None
    seconds: float = 0.0
    trace: str | None = None
    """Of an error of the harness's own, which no record tells of yet."""


@dataclass(frozen=True)
class Training:
    """An original or a gold to be trained."""

    seed: int
    case: Case | None

    def perform(self, loaded: LoadedTask, place: Place) -> Done:
        """Trains it, unless another process has done so by now."""
        train(loaded, Store(place.cache), loaded.ref(self.seed, self.case))
        return Done("ok")


@dataclass(frozen=True)
class Measurement:
    """A cell to be measured."""

    cell: Cell
    blank: Record
    """What its record says before it is measured."""

    def perform(self, loaded: LoadedTask, place: Place) -> Done:
        """Measures it, the method in a process of its own."""
        printed = io.StringIO()
        with redirect_stderr(printed):  # what methods print would tear up the line of progress
            measured = measure(
                loaded, Store(place.cache), self.cell, place.results, isolation=_isolation(place)
            )
        write_note(measured.record, measured.path, measured.trace + printed.getvalue())
        return Done(measured.record.status, measured.record.error)

    def record_failure(self, done: Done, place: Place) -> None:
        """Leaves a record that says that the measurement itself broke off."""
        record = self.blank.model_copy(update={"status": done.status, "error": done.error})
        path = write_record(place.results, record, None)
        write_note(record, path, done.trace or "")


@dataclass(frozen=True)
class Job:
    """One piece of work."""

    place: Place
    task: TaskSpec
    work: Training | Measurement
    label: str
    estimate_seconds: float
    gives: str
    """Key of the model or path of the record that it makes."""
    needs: frozenset[str] = frozenset()
    """Keys of the models that have to be trained first."""

    def __call__(self) -> Done:
        """Does it."""
        started = time.perf_counter()
        try:
            _isolation(self.place)  # starts up in the background while the data is loaded
            loaded = load_once(self.task, pick_device(self.place.device))
            done = self.work.perform(loaded, self.place)
        except Exception as error:  # a sweep goes on, whatever becomes of one job
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            done = Done("error", reason, trace=traceback.format_exc())
        return replace(done, seconds=time.perf_counter() - started)


@cache
def _isolation(place: Place) -> Isolation:
    return Isolation([place.cache, place.results], memory_limit(place.num_workers))
