"""Training the originals and golds that are missing, as many at once as the machine can.

On the CPU every model is trained by one thread, whatever the machine has free, so that its weights
do not depend on what else was missing; several missing models train as several processes.
"""

import os
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mubench._util.cache import Store
from mubench._util.messages import say
from mubench._util.workers import LocalExecutor, report
from mubench.task.spec import Case, TaskSpec
from mubench.training import loop
from mubench.training.loop import Step

from .identity import ModelRef
from .loaded import LoadedTask, load_once
from .train import train

REPORT_SECONDS = 0.5  # least time between two steps that a worker tells of


def num_workers(device: torch.device, num_models: int) -> int:
    """How many trainings run at once: one a core on the CPU, one on a GPU."""
    if device.type != "cpu":
        return 1
    return max(1, min(num_models, os.cpu_count() or 1))


def estimate_seconds(loaded: LoadedTask, num_models: int) -> float:
    """How long training so many models should take here, from a few steps that are timed now."""
    if not num_models:
        return 0.0
    recipe = loaded.task.train
    with loop.threads(1 if loaded.device.type == "cpu" else torch.get_num_threads()):
        durations = loop.step_seconds(loaded.fresh(0), loaded.train, recipe, loaded.pipeline)
    steps = loop.num_batches(len(loaded.train), recipe.batch_size) * recipe.epochs
    rounds = -(-num_models // num_workers(loaded.device, num_models))
    return float(np.median(durations)) * steps * rounds


def build(loaded: LoadedTask, store: Store, refs: Sequence[ModelRef]) -> None:
    """Trains models that are missing; several at once where the machine has the cores.

    Raises:
        mubench.training.Diverged: a recipe diverges.
        mubench.executor.WorkerLost: a process that trained was killed.
    """
    if not refs:
        return
    steps = loop.num_batches(len(loaded.train), loaded.task.train.batch_size)
    total = steps * loaded.task.train.epochs * len(refs)
    with tqdm(total=total, unit="step", disable=None, dynamic_ncols=True) as bar:
        if loaded.device.type != "cpu":
            for ref in refs:
                train(loaded, store, ref, _on_bar(bar, ref.label))
            return
        _build_in_processes(loaded, store, refs, bar)


def _on_bar(bar: "tqdm[Any]", label: str) -> Callable[[Step], None]:
    done = 0

    def on_step(step: Step) -> None:
        nonlocal done
        bar.set_description(f"{label}: epoch {step.epoch}, loss {step.loss:.3f}", refresh=False)
        bar.update(step.step - done)
        done = step.step

    return on_step


def _build_in_processes(
    loaded: LoadedTask, store: Store, refs: Sequence[ModelRef], bar: "tqdm[Any]"
) -> None:
    executor = LocalExecutor(num_workers(loaded.device, len(refs)), one_thread=True)
    on_step = {ref.key: _on_bar(bar, ref.label) for ref in refs}
    steps: queue.SimpleQueue[tuple[str, Step]] = queue.SimpleQueue()
    try:
        pending: dict[Future[float], ModelRef] = {
            executor.submit(_Training(loaded.task, store.root, ref.seed, ref.case), steps.put): ref
            for ref in refs
        }
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
    finally:
        executor.close()


@dataclass(frozen=True)
class _Training:
    """A model to be trained in a worker, which tells of its steps."""

    task: TaskSpec
    root: Path
    seed: int
    case: Case | None

    def __call__(self) -> float:
        """Trains it; returns the seconds that took."""
        started = last = time.perf_counter()
        loaded = load_once(self.task, torch.device("cpu"))
        ref = loaded.ref(self.seed, self.case)

        def on_step(step: Step) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last > REPORT_SECONDS or step.step == step.num_steps:
                last = now
                report((ref.key, step))

        train(loaded, Store(self.root), ref, on_step)
        return time.perf_counter() - started
