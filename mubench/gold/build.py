"""Training the originals and golds that are missing, as many at once as the machine can.

On the CPU one thread trains each model, so that its weights do not depend on what else was missing.
Several missing models train as several processes.
"""

import queue
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from mubench._util.cache import Store
from mubench._util.messages import duration, say
from mubench._util.workers import Executor, LocalExecutor, WorkerPolicy, report
from mubench.task.spec import Case, Task
from mubench.training.loop import Step

from .identity import Trained, UpdateLogRef
from .library import MODELS, GoldLibrary
from .loaded import LoadedTask, load_once
from .shipped import take_shipped
from .train import train

LABELS = 6
"""Most models that a message names."""

TIMING_SECONDS = 0.5
"""Least seconds for which a worker times steps."""

REPORT_SECONDS = 0.5
"""Least seconds between two steps that a worker reports."""


@dataclass(frozen=True)
class TimeJob:
    """Training steps to be timed in a worker. A job can be pickled."""

    task: Task
    device: str

    def __call__(self) -> float:
        """Times steps for a while.

        Returns:
            The seconds of a whole training.
        """
        loaded = load_once(self.task, torch.device(self.device))
        step_seconds = loaded.time_steps()
        until = time.perf_counter() + TIMING_SECONDS
        while time.perf_counter() < until:
            step_seconds += loaded.time_steps()
        return loaded.retrain_seconds(step_seconds)


def retrain_seconds(executor: Executor, task: Task, device: str, at_once: int) -> float:
    """Seconds that a training takes while so many workers are busy, from steps that are timed now.

    Two trainings at once can each take twice as long as one, so the steps are timed in workers. The
    first round brings all workers up, and the second counts.

    Args:
        executor: whose workers time.
        task: what is trained.
        device: the name of a worker's device.
        at_once: how many workers will be busy.

    Raises:
        mubench._util.workers.WorkerLost: a worker was killed.
    """
    seconds = [0.0]
    for _ in range(min(at_once, 2)):
        timed = [executor.submit(TimeJob(task, device)) for _ in range(at_once)]
        seconds = [future.result() for future in timed]
    return median(seconds)


@dataclass(frozen=True)
class TrainJob:
    """What is to be trained in a worker. A job can be pickled."""

    task: Task
    cache: Path | str
    """Root of the cache: a folder or a URL."""
    device: str
    seed: int
    """Seed of the training."""
    case: Case | None
    """The model is trained without this D_f. None: the original."""
    reports: bool = False
    """True to report (key, step) to whoever submitted the job."""
    logs_updates: bool = False
    """True to train the original again, for its log of updates. There is no case then."""
    reads: tuple[tuple[tuple[str, str], ...], ...] = ()
    """As in `MeasureJob`: the entries of the cache of which one has to be there."""

    @classmethod
    def of(
        cls, ref: Trained, task: Task, cache: Path | str, device: str, *, reports: bool = False
    ) -> "TrainJob":
        """The job that makes what `ref` names; the other arguments are the job's fields."""
        if isinstance(ref, UpdateLogRef):
            reads = (((MODELS, ref.original.key),),)
            return cls(task, cache, device, ref.seed, None, reports, logs_updates=True, reads=reads)
        return cls(task, cache, device, ref.seed, ref.case, reports)

    def ref(self, loaded: LoadedTask) -> Trained:
        """What the job makes."""
        ref = loaded.ref(self.seed, self.case)
        return loaded.update_log_ref(ref) if self.logs_updates else ref

    def __call__(self) -> float:
        """Trains the model, unless another process has done so by now.

        Returns:
            The seconds that took.
        """
        started = last = time.perf_counter()
        loaded = load_once(self.task, torch.device(self.device))
        ref = self.ref(loaded)

        def on_step(step: Step) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last > REPORT_SECONDS or step.step == step.num_steps:
                last = now
                report((ref.key, step))

        library = GoldLibrary(loaded, Store(self.cache))
        train(library, ref, on_step if self.reports else None)
        return time.perf_counter() - started


def build_missing(
    library: GoldLibrary,
    cases: Sequence[Case],
    seeds: Collection[int] | None = None,
    *,
    update_logs: bool = False,
) -> None:
    """Trains what measuring these cases needs, and what is neither cached nor comes with the task.

    What is trained is said on stderr beforehand, and how long that should take once it is timed.

    Args:
        library: where the models are kept.
        cases: that are to be measured.
        seeds: of the method's runs. None: any, so all originals are trained.
        update_logs: True if the method asks for the log of updates.

    Raises:
        mubench.training.loop.Diverged: a recipe diverges.
        mubench._util.workers.WorkerLost: a process that trained was killed.
    """
    task_id = library.loaded.task.id
    missing = take_shipped(library, library.missing(cases, seeds))
    total = len(library.needed(cases, seeds))
    if missing:
        say(
            f"{task_id}: {total - len(missing)} of {total} models are cached; training "
            f"{_listed(library, missing)}"
        )
        build(library, missing)
    else:
        say(f"{task_id}: all {total} models are cached")
    # The originals come first, because their trainings are done again.
    logs = library.missing_update_logs(cases, seeds) if update_logs else []
    if logs:
        say(f"{task_id}: training for logs of updates: {_listed(library, logs)}")
        build(library, logs)


def _listed(library: GoldLibrary, refs: Sequence[Trained]) -> str:
    """What is going to be trained, as a part of a message."""
    workers = WorkerPolicy.for_device(library.loaded.device.type).num_workers(len(refs))
    labels = ", ".join(ref.label for ref in refs[:LABELS])
    more = f" and {len(refs) - LABELS} more" if len(refs) > LABELS else ""
    return f"{labels}{more}, {workers} at once"


def build(library: GoldLibrary, refs: Sequence[Trained]) -> None:
    """Trains models, or originals again for their logs; several at once if there are the cores.

    Args:
        library: where the models are kept.
        refs: what is missing. The original of a log must be cached.

    Raises:
        mubench.training.loop.Diverged: a recipe diverges.
        mubench._util.workers.WorkerLost: a process that trained was killed.
    """
    if not refs:
        return
    loaded = library.loaded
    if loaded.device.type == "cpu":
        _build_in_processes(library, refs)
        return
    _say_estimate(loaded.retrain_seconds(loaded.time_steps()) * len(refs))
    with _bar(loaded, len(refs)) as bar:
        for ref in refs:
            train(library, ref, _on_bar(bar, ref.label))


def _say_estimate(seconds: float) -> None:
    say(f"that takes about {duration(seconds)}")


def _bar(loaded: LoadedTask, num_models: int) -> "tqdm[Any]":
    total = loaded.retrain_steps() * num_models
    return tqdm(total=total, unit="step", disable=None, dynamic_ncols=True)


def _on_bar(bar: "tqdm[Any]", label: str) -> Callable[[Step], None]:
    done = 0

    def on_step(step: Step) -> None:
        nonlocal done
        bar.set_description(f"{label}: epoch {step.epoch}, loss {step.loss:.3f}", refresh=False)
        bar.update(step.step - done)
        done = step.step

    return on_step


def _build_in_processes(library: GoldLibrary, refs: Sequence[Trained]) -> None:
    loaded, cache = library.loaded, library.store.root
    policy = WorkerPolicy.for_device("cpu")
    workers = policy.num_workers(len(refs))
    steps: queue.SimpleQueue[tuple[str, Step]] = queue.SimpleQueue()
    with closing(LocalExecutor(workers, threads=policy.threads)) as executor:
        rounds = -(-len(refs) // workers)
        _say_estimate(rounds * retrain_seconds(executor, loaded.task, "cpu", workers))
        with _bar(loaded, len(refs)) as bar:
            on_step = {ref.key: _on_bar(bar, ref.label) for ref in refs}
            pending: dict[Future[float], Trained] = {}
            for ref in refs:
                job = TrainJob.of(ref, loaded.task, cache, "cpu", reports=True)
                pending[executor.submit(job, steps.put)] = ref
            while pending:
                ended, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                while not steps.empty():
                    key, step = steps.get()
                    on_step[key](step)
                for future in ended:
                    ref = pending.pop(future)
                    seconds = future.result()
                    bar.clear()
                    say(f"trained {ref.label} in {seconds:.0f} s")
