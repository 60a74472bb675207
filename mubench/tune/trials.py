"""One run of a method on one tuning problem, and how good it was."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from mubench._util.cache import Store
from mubench._util.hashing import derive_seed
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask, load_once
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.method.presets import Choice
from mubench.record.schema import epochs_equivalent, retrain_epochs_equivalent
from mubench.run.cell import Cell, accept, method_inputs, run_here
from mubench.run.execute import MethodOutcome
from mubench.run.isolation.host import Isolation, time_limit
from mubench.task.spec import Task
from mubench.training import loop

from .problems import KnownProblem, Outputs, TuningProblem, outputs_of, prepare

T = TypeVar("T")

HELD_OUT = 5000
"""Most held-out samples, of retained classes, by which the loss of accuracy is told."""


@dataclass(frozen=True)
class Score:
    """How a run on a tuning problem went. All but the status and the cost is of success only."""

    status: str
    """As in `Record`."""
    error: str | None
    """What happened, in a line, for a status other than `ok`."""
    epochs_equivalent: float
    """Cost of the run."""
    retrain_share: float
    """Cost of the run as a share of retraining."""
    margin_distance: float = 0.0
    """Mean over the forget set of the distance between margins, mean over golds."""
    delta_signed: float = 0.0
    """Accuracy on the forget set less that of the golds, in percentage points."""
    nothing: float = 0.0
    """The margin distance of the model that the method started from."""
    lost_accuracy: float = 0.0
    """Accuracy that the model the method started from has on held-out samples of retained classes,
    less that of the unlearned model."""
    lost_stderr: float = 0.0
    """Standard error of the lost accuracy, paired over the held-out samples."""


_starts: dict[tuple[str, str, TuningProblem], tuple[Outputs, ...]] = {}
"""What the model that a problem starts from says of D_f and of held-out samples: the same in each
trial of a process."""


@dataclass(frozen=True)
class RunJob:
    """A run of a method on a tuning problem. A job can be pickled."""

    task: Task
    """The tuning task."""
    cache: Path | str
    """Root of the cache: a folder or a URL."""
    device: str
    reference: str
    """How to find the method."""
    isolate: bool
    """True to run the method in a process of its own."""
    settings: Mapping[str, Any]
    """Values by name, nested."""
    problem: TuningProblem

    def __call__(self) -> Score:
        """Runs the method and scores what it returns."""
        loaded = load_once(self.task, torch.device(self.device))
        library = GoldLibrary(loaded, Store(self.cache))
        known = prepare(library, self.problem)
        outcome = self._run(library, known)
        num_train, num_retain = len(loaded.train), len(known.retain)
        usage = outcome.usage
        cost = epochs_equivalent(usage.forward_samples, usage.backward_samples, num_train)
        retraining = retrain_epochs_equivalent(loaded.task.train.epochs, num_retain, num_train)
        model = accept(loaded, outcome)
        if model is None:
            return Score(outcome.status, outcome.error, cost, cost / retraining)
        if not loop.predict(model, known.forget, loaded.pipeline).isfinite().all():
            return Score("diverged", "the logits are not all finite", cost, cost / retraining)
        return self._score(loaded, known, model, cost, cost / retraining)

    def _run(self, library: GoldLibrary, known: KnownProblem) -> MethodOutcome:
        loaded, case, seed = library.loaded, self.problem.case, self.problem.seed
        if self.isolate:
            isolation = _isolation(self.cache)
            (described,) = isolation.describe(self.reference, [Choice(self.settings)])
            cell = Cell(case, described, None, seed)
        else:
            method = load_method(self.reference)
            cell = Cell(case, method, configure(method, self.settings), seed)
        inputs = method_inputs(library, cell)
        own = {"forget": known.forget, "retain": known.retain, "holdout": known.holdout}
        # Copies, because a method in this process may change them in place.
        access = {
            name: own[name][torch.arange(len(own[name]))] if name in own else value
            for name, value in inputs.access.items()
        }
        inputs = replace(
            inputs,
            original=known.start.state_dict(),
            access=access,
            num_forget=len(known.forget),
            seed=derive_seed("tuning", seed, self.problem.label),
        )
        if not self.isolate:
            assert cell.instance
            return run_here(cell.instance, inputs)
        seconds = loaded.retrain_seconds(loaded.time_steps())
        return isolation.run(described, inputs, time_limit(loaded.task.measure.budget, seconds))

    def _score(
        self,
        loaded: LoadedTask,
        known: KnownProblem,
        model: torch.nn.Module,
        cost: float,
        retrain_share: float,
    ) -> Score:
        # A whole class that is forgotten is gone from what is retained, and must be lost.
        stays_N = torch.isin(known.holdout.labels, known.retain.labels)
        held_out = known.holdout[stays_N][:HELD_OUT]
        key = loaded.task.spec_sha, str(loaded.device), self.problem
        if key not in _starts:
            _starts[key] = tuple(
                outputs_of(loaded, known.start, samples) for samples in (known.forget, held_out)
            )
        (start, before), golds = _starts[key], known.golds
        own, after = (outputs_of(loaded, model, samples) for samples in (known.forget, held_out))
        changes = before.right_RN.astype(float) - after.right_RN
        return Score(
            "ok",
            None,
            cost,
            retrain_share,
            margin_distance=_distance(own, golds),
            delta_signed=100 * (own.accuracy - golds.accuracy),
            nothing=_distance(start, golds),
            lost_accuracy=before.accuracy - after.accuracy,
            lost_stderr=float(changes.std() / len(held_out) ** 0.5),
        )


def _distance(own: Outputs, golds: Outputs) -> float:
    return float(abs(own.margins_RN - golds.margins_RN).mean())


@cache
def _isolation(root: Path | str) -> Isolation:
    return Isolation([root] if isinstance(root, Path) else [])


class InThisProcess:
    """An executor that runs each job when it is submitted."""

    num_workers = 1

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job; its future is done."""
        future: Future[T] = Future()
        try:
            future.set_result(job())
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Does nothing."""
