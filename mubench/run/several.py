"""Many cells at once: on the CPU one thread for each, and as many cells as there are cores.

A number must not depend on what else a machine does. So a cell has one thread unless the user says
otherwise, and cores are kept busy by other cells.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from mubench._util.errors import UserError
from mubench._util.workers import LocalExecutor, WorkerPolicy
from mubench.gold.library import GoldLibrary
from mubench.record.folder import ResultsFolder, read_record
from mubench.training import loop

from .cell import Cell, Measurement, head_of, measure
from .isolation.host import Described, Isolation
from .sweep import plan
from .sweep.jobs import Job, MeasureJob, Place


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a cell gets of the machine."""

    threads: int | None
    """Threads of the CPU. None: as many as torch takes by itself, on a GPU."""
    num_workers: int
    """Cells that are measured at once."""
    exclusive_device: bool
    """True if each cell has its GPU, or a core per thread, to itself."""

    @classmethod
    def of(
        cls,
        device: torch.device,
        cells: Sequence[Cell],
        threads: int | None = None,
        num_workers: int | None = None,
    ) -> "Share":
        """The share of each of some cells.

        Args:
            device: where they run.
            cells: all of one method.
            threads: as the user wants. None: one on the CPU.
            num_workers: as the user wants. None: a cell per core or per GPU, or one cell at a time
                if the method cannot leave this process.
        """
        policy = WorkerPolicy.for_device(device.type)
        threads = threads or policy.threads
        most = max(1, policy.most_workers // (threads or 1)) if device.type == "cpu" else 1
        wanted = num_workers or (most if all(map(can_leave, cells)) else 1)
        workers = max(1, min(len(cells), wanted))
        return cls(threads=threads, num_workers=workers, exclusive_device=workers <= most)


def measure_all(
    library: GoldLibrary,
    cells: Sequence[Cell],
    results: ResultsFolder,
    share: Share,
    *,
    again: bool = False,
    weights: Callable[[Cell], Path | None] = lambda _: None,
    isolation: Isolation | None = None,
) -> Iterator[tuple[Cell, Measurement]]:
    """Measures cells and writes their records; the originals and the golds must be cached.

    Args:
        library: the task with its data and its models.
        cells: what to measure.
        results: where records go.
        share: what each cell gets of the machine.
        again: True to measure even what the same code has measured before.
        weights: where to put a cell's unlearned model as safetensors, if anywhere.
        isolation: where to run cells whose method is only described, one after the other.

    Yields:
        Each cell as it ends, and its measurement.

    Raises:
        UserError: several cells at once were asked for, and their method is of this process only.
    """
    if share.num_workers > 1:
        if not all(map(can_leave, cells)):
            raise UserError(
                "several cells at once need a method that is installed or isolated: this one is of "
                "this process only, so leave --workers and --no-isolate out"
            )
        yield from _in_workers(library, cells, results, share, again, weights)
        return
    for cell in cells:
        with loop.threads(share.threads) if share.threads else nullcontext():
            measured = measure(
                library,
                cell,
                results,
                again=again,
                save_weights=weights(cell),
                isolation=isolation,
                exclusive_device=share.exclusive_device,
            )
        yield cell, measured


def can_leave(cell: Cell) -> bool:
    """True if another process can run the method of a cell, because it can find its class."""
    return isinstance(cell.method, Described) or cell.method.distribution is not None


def _in_workers(
    library: GoldLibrary,
    cells: Sequence[Cell],
    results: ResultsFolder,
    share: Share,
    again: bool,
    weights: Callable[[Cell], Path | None],
) -> Iterator[tuple[Cell, Measurement]]:
    loaded = library.loaded
    place = Place(
        library.store.root,
        results.root,
        str(loaded.device),
        share.num_workers,
        threads=share.threads,
        exclusive_device=share.exclusive_device,
    )
    jobs = {}
    for cell in cells:
        head = head_of(loaded, cell, share.threads)
        target = weights(cell)
        anew = again or target is not None  # as `measure` does, because a record has no weights
        work = MeasureJob(loaded.task, place, cell, head, again=anew, save_weights=target)
        path = results.record(head)
        jobs[str(path)] = cell, Job(work, cell.label, 0.0, gives=str(path))
    with closing(LocalExecutor(share.num_workers, threads=share.threads)) as executor:
        for event in plan.run([job for _, job in jobs.values()], executor):
            if event is None:
                continue
            job, done = event
            cell, _ = jobs[job.gives]
            if done.printed:
                sys.stderr.write(done.printed)
            if done.measured:
                record, trace = done.measured.record, done.measured.trace
                yield cell, Measurement(record, Path(job.gives), reused=False, trace=trace)
            else:  # it broke off, or was measured before
                record = read_record(Path(job.gives))
                yield cell, Measurement(record, Path(job.gives), reused=done.status == "ok")
