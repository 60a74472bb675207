"""Sweeps: a grid of cells is planned, then measured by several workers, and continued after a kill.

There is no state but the cache and the records: what the same code has made from the same inputs is
not made again. A cell needs its original and the golds of its case. The trainings that are missing
are jobs like the cells, and the cheapest cell goes first. Methods run in processes of their own.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold
from mubench._util.messages import say
from mubench._util.workers import Executor, WorkerLost
from mubench.gold.build import TrainJob, retrain_seconds
from mubench.gold.identity import Trained
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.gold.shipped import take_shipped
from mubench.method.access import UPDATE_LOG
from mubench.record.folder import ResultsFolder, read_record
from mubench.record.schema import RecordHead
from mubench.run.cell import Cell, head_of

from .grid import GridCell
from .jobs import Job, JobResult, MeasureJob, Place, reads

JOB_SECONDS = 2.0
"""Seconds to start, to time training steps and to hand over, whatever the job is."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep has to do for one task."""

    loaded: LoadedTask
    """The task."""
    cells: list[Job]
    """The cells to be measured."""
    trainings: list[Job]
    """The models to be trained, and the originals to be trained again for a log of updates."""
    num_kept: int
    """Cells that were measured before."""
    num_models: int
    """Originals and golds that the cells need, cached or not."""
    num_unknown: int = 0
    """Cells to be measured whose settings have no record, and which count with their budget."""

    @property
    def estimate_seconds(self) -> float:
        """Seconds that one worker should need for all jobs."""
        return sum(job.estimate_seconds for job in (*self.cells, *self.trainings))


def shard(cells: Sequence[GridCell], number: int, count: int) -> list[GridCell]:
    """One part of a grid: a run of its sorted cells, so that the part needs few golds.

    The parts of one grid are disjoint, give the grid together, and differ by one cell at most.

    Args:
        cells: the grid.
        number: of the part, from 1.
        count: how many parts there are.
    """
    assert 1 <= number <= count
    start, end = (len(cells) * n // count for n in (number - 1, number))
    return list(cells[start:end])


def make_plans(cells: Sequence[GridCell], place: Place, executor: Executor) -> list[Plan]:
    """What there is to do for each task of a grid, and what was done before.

    Args:
        cells: the grid, or a part of it.
        place: where the jobs find and leave things.
        executor: whose workers time training steps, if there is anything to do.
    """
    tasks = dict.fromkeys(loaded for loaded, _ in cells)
    varied = varied_parameters(cells)
    return [
        _plan([cell for own, cell in cells if own is loaded], loaded, place, executor, varied)
        for loaded in tasks
    ]


def varied_parameters(cells: Sequence[GridCell]) -> dict[str, list[str]]:
    """The parameters of each method, by its name, that are not the same in all cells."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for _, cell in cells:
        seen = sets.setdefault(cell.method.name, [])
        if cell.parameters not in seen:
            seen.append(cell.parameters)
    return {
        method: [name for name in seen[0] if any(s.get(name) != seen[0][name] for s in seen)]
        for method, seen in sets.items()
    }


def _plan(
    cells: list[Cell],
    loaded: LoadedTask,
    place: Place,
    executor: Executor,
    varied: Mapping[str, Sequence[str]],
) -> Plan:
    library = GoldLibrary(loaded, Store(place.cache))
    results = ResultsFolder(place.results)
    heads = [(cell, head_in(place, loaded, cell)) for cell in cells]
    todo = [(cell, head) for cell, head in heads if not results.earlier(head)]
    if not todo:
        return Plan(loaded, [], [], len(cells), 0)
    needed = (library.needed([cell.case], [cell.seed]) for cell, _ in todo)
    models = {ref.key: ref for refs in needed for ref in refs}
    uncached = [ref for ref in models.values() if not library.is_ready(ref)]
    missing: dict[str, Trained] = {ref.key: ref for ref in take_shipped(library, uncached)}
    for cell, _ in todo:
        if UPDATE_LOG in cell.method.requires:
            logs = library.missing_update_logs([cell.case], [cell.seed])
            missing |= {log.key: log for log in logs}
    at_once = min(executor.num_workers, len(todo) + len(missing))
    seconds = retrain_seconds(executor, loaded.task, place.device, at_once)
    # Scoring is a forward pass over all images: a third of an epoch.
    own_seconds = JOB_SECONDS + seconds / (3 * loaded.task.train.epochs)
    trainings = [
        Job(
            work := TrainJob.of(ref, loaded.task, place.cache, place.device),
            label=f"{loaded.task.name}: {ref.label}",
            estimate_seconds=own_seconds + seconds,
            gives=ref.key,
            needs=_needs(work, missing),
        )
        for ref in missing.values()
    ]
    shares: dict[tuple[str, str], float | None] = {}
    jobs = []
    for cell, head in todo:
        entry = head.method, head.parameters_id
        if entry not in shares:  # because an entry's cases and seeds have the share in common
            shares[entry] = _earlier_share(results, head)
        share = shares[entry]
        measuring = MeasureJob(loaded.task, place, cell, head, reads(loaded, cell))
        job = Job(
            measuring,
            label=f"{loaded.task.name}: {method_label(cell, varied)} on {cell.case.id}, "
            f"seed {cell.seed}",
            estimate_seconds=own_seconds + seconds * (head.budget if share is None else share),
            gives=str(results.record(head)),
            needs=_needs(measuring, missing),
        )
        jobs.append(job)
    num_unknown = sum(shares[head.method, head.parameters_id] is None for _, head in todo)
    return Plan(loaded, jobs, trainings, len(cells) - len(todo), len(models), num_unknown)


def _needs(work: TrainJob | MeasureJob, missing: Collection[str]) -> frozenset[str]:
    """Keys of what has to be made before a piece of work: what it reads and the cache lacks."""
    return frozenset(key for names in work.reads for _, key in names if key in missing)


def head_in(place: Place, loaded: LoadedTask, cell: Cell) -> RecordHead:
    """The head of a cell's record that a worker of a place will measure."""
    head = head_of(loaded, cell, place.threads)
    return head.model_copy(update={"device": place.machine}) if place.machine else head


def method_label(cell: Cell, varied: Mapping[str, Sequence[str]]) -> str:
    """What to call the method of a cell: with the parameters that are not the same in all cells."""
    name = cell.method.name
    values = ", ".join(f"{key}={cell.parameters.get(key)}" for key in varied[name])
    return f"{name} ({values})" if values else name


def _earlier_share(results: ResultsFolder, head: RecordHead) -> float | None:
    """Share of retraining's seconds that the method took with these parameters before.

    Records of this task count first; if there are none, those of any task.
    """
    for paths in results.records_with_parameters(head):
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
    """All jobs: the cheapest cells first, each after the trainings that it still needs."""
    trainings = {job.gives: job for plan in plans for job in plan.trainings}

    def cost(cell: Job) -> float:
        return cell.estimate_seconds + sum(trainings[key].estimate_seconds for key in cell.needs)

    jobs: dict[str, Job] = {}
    for cell in sorted((cell for plan in plans for cell in plan.cells), key=cost):
        for key in sorted(cell.needs):
            jobs.setdefault(key, trainings[key])
        jobs[cell.gives] = cell
    return list(jobs.values())


def run(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Job, JobResult] | None]:
    """Has jobs run, each as soon as a worker is free and what the job needs has been made.

    Records are written here, as the jobs end. A job whose worker was lost is tried once more.

    Args:
        jobs: in the order in which they should begin.
        executor: where they run.

    Yields:
        Each job that ended and how; None once a second, for a clock that goes on.
    """
    waiting = list(jobs)
    lost_once: set[str] = set()
    unmade = {job.gives for job in jobs if isinstance(job.work, TrainJob)}
    failed: set[str] = set()
    running: dict[Future[JobResult], Job] = {}
    while waiting or running:
        for job in [job for job in waiting if job.needs & failed]:
            waiting.remove(job)
            yield job, JobResult("error", "a model that it needs could not be trained")
        ready = (job for job in waiting if not job.needs & unmade)
        for job in list(islice(ready, max(0, executor.num_workers - len(running)))):
            waiting.remove(job)
            if isinstance(job.work, MeasureJob) and job.work.is_done():  # by another sweep
                yield job, JobResult("ok")
            else:
                running[executor.submit(job)] = job
        ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
        if not ended:
            yield None
        for future in [one for one in running if one in ended]:  # in the order they were begun
            job = running.pop(future)
            try:
                result = future.result()
            except WorkerLost as lost:
                if job.gives not in lost_once:  # such as a node that went: none of the job's doing
                    lost_once.add(job.gives)
                    say(f"{job.label}: {lost}; it is tried once more")
                    waiting.insert(0, job)
                    continue
                result = JobResult("error", f"{lost}, twice", trace="")
            if isinstance(job.work, MeasureJob):
                job.work.keep(result)
            unmade.discard(job.gives)
            if result.status != "ok":
                failed.add(job.gives)
            yield job, result
