"""Sweeps: a grid of cells is planned, then measured by several workers, and continued after a kill.

There is no state but the cache and the records: what is there, made by the same code from the same
inputs, is not made again. A cell needs the original and the golds of its case; the trainings that
are missing are jobs like the cells, and what costs least goes first. Methods run in processes of
their own.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold
from mubench._util.hashing import digest
from mubench._util.workers import Executor, WorkerLost
from mubench.gold import cached
from mubench.gold.build import estimate_seconds
from mubench.gold.loaded import LoadedTask
from mubench.record.folder import read_record, record_path
from mubench.record.schema import Record
from mubench.run.cell import Cell, blank_record, earlier

from .grid import Point
from .jobs import Done, Job, Measurement, Place, Training

CELL_SECONDS = 2.0  # to start, to time training steps and to write, whatever the method takes


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep has to do for one task."""

    loaded: LoadedTask
    cells: list[Job]
    trainings: list[Job]
    num_kept: int
    """Cells that were measured before."""
    num_models: int
    """Originals and golds that its cells need, cached or not."""

    @property
    def estimate_seconds(self) -> float:
        """For one worker."""
        return sum(job.estimate_seconds for job in (*self.cells, *self.trainings))


def shard(points: Sequence[Point], number: int, count: int) -> list[Point]:
    """The part `number` of `count`, from 1: a run of the sorted cells, so that it needs few golds.

    The parts of one grid are disjoint, give the grid together, and differ by one cell at most.
    """
    assert 1 <= number <= count
    start, end = (len(points) * n // count for n in (number - 1, number))
    return list(points[start:end])


def make_plans(points: Sequence[Point], place: Place) -> list[Plan]:
    """What there is to do for each task of a grid, and what was done before."""
    tasks = dict.fromkeys(point.loaded for point in points)
    return [_plan([p for p in points if p.loaded is loaded], loaded, place) for loaded in tasks]


def _plan(points: list[Point], loaded: LoadedTask, place: Place) -> Plan:
    todo: list[tuple[Cell, Record]] = []
    for point in points:
        cell = Cell(point.case, point.method, None, point.seed)
        blank = blank_record(loaded, cell)
        if loaded.device.type == "cpu":
            blank = blank.model_copy(update={"threads": 1})  # as the workers have
        if not earlier(record_path(place.results, blank), blank):
            todo.append((cell, blank))
    cases = list(dict.fromkeys(cell.case for cell, _ in todo))
    num_models = len(cached.needed(loaded, cases)) if todo else 0
    missing = cached.missing(loaded, Store(place.cache), cases) if todo else []
    retrain_seconds = estimate_seconds(loaded, 1) if todo else 0.0
    trainings = [
        Job(
            place,
            loaded.task,
            Training(ref.seed, ref.case),
            label=f"{loaded.task.name}: {ref.label}",
            estimate_seconds=retrain_seconds,
            gives=ref.key,
        )
        for ref in missing
    ]
    # Scoring is a forward pass over all images: a third of an epoch.
    scoring_seconds = retrain_seconds / (3 * loaded.task.train.epochs)
    shares: dict[tuple[str, str], float | None] = {}
    cells = []
    for cell, blank in todo:
        path = record_path(place.results, blank)
        entry = blank.method, digest(blank.parameters)
        if entry not in shares:  # its cases and seeds have it in common
            shares[entry] = _earlier_share(place.results, blank)
        share = shares[entry]
        needed = {ref.key for ref in cached.needed(loaded, [cell.case])}
        job = Job(
            place,
            loaded.task,
            Measurement(cell, blank),
            label=f"{loaded.task.name}: {cell.label}",
            estimate_seconds=CELL_SECONDS
            + scoring_seconds
            + retrain_seconds * (blank.budget if share is None else share),
            gives=str(path),
            needs=frozenset(ref.key for ref in missing if ref.key in needed),
        )
        cells.append(job)
    return Plan(loaded, cells, trainings, len(points) - len(todo), num_models)


def _earlier_share(results: Path, blank: Record) -> float | None:
    """Share of retraining that the method took with these parameters: on this task, else on any."""
    name = f"*-{digest(blank.parameters)[:8]}.json"
    folder = record_path(results, blank).parent
    for paths in (folder.glob(name), results.glob(f"*/{folder.name}/{name}")):
        shares = []
        for path in paths:
            try:
                record = read_record(path)
            except DoesNotHold:
                continue
            if record.status == "ok" and record.cost:
                shares.append(record.cost.seconds / record.cost.retrain_seconds)
        if shares:
            return fmean(shares)
    return None


def in_order(plans: Sequence[Plan]) -> list[Job]:
    """All jobs: the cells that cost least first, each after the trainings that it still needs."""
    trainings = {job.gives: job for plan in plans for job in plan.trainings}

    def cost(cell: Job) -> float:
        return cell.estimate_seconds + sum(trainings[key].estimate_seconds for key in cell.needs)

    jobs: dict[str, Job] = {}
    for cell in sorted((cell for plan in plans for cell in plan.cells), key=cost):
        for key in sorted(cell.needs):
            jobs.setdefault(key, trainings[key])
        jobs[cell.gives] = cell
    return list(jobs.values())


def run(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, Done] | None]:
    """Has jobs run, each as soon as there is a worker and what it needs has been made.

    Yields:
        Each job that ended and how; None once a second, for a clock that goes on.
    """
    waiting = list(jobs)
    unmade = {job.gives for job in jobs if isinstance(job.work, Training)}
    failed: set[str] = set()
    running: dict[Future[Done], Job] = {}
    while waiting or running:
        for job in [job for job in waiting if job.needs & failed]:
            waiting.remove(job)
            yield job, Done("error", "a model that it needs could not be trained")
        ready = (job for job in waiting if not job.needs & unmade)
        for job in list(islice(ready, executor.num_workers - len(running))):
            waiting.remove(job)
            running[executor.submit(job)] = job
        ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
        if not ended:
            yield None
        for future in [one for one in running if one in ended]:  # in the order they were begun
            job = running.pop(future)
            try:
                done = future.result()
            except WorkerLost as lost:
                done = Done("error", str(lost), trace="")
            if done.trace is not None and isinstance(job.work, Measurement):
                job.work.record_failure(done, job.place)
            unmade.discard(job.gives)
            if done.status != "ok":
                failed.add(job.gives)
            yield job, done
