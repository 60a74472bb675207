"""The search: trials that Optuna draws, run on every tuning problem, kept in a file.

The first trial is the default. A trial ends early if its mean over the problems so far is above the
median of earlier trials. A trial that fails is told so. A trial that costs more than the task's
budget, loses accuracy, or has a delta beyond a limit is never chosen.

All trials lie in an SQLite file, so the same command goes on after a kill.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mubench._util.errors import UserError
from mubench._util.hashing import derive_seed
from mubench._util.workers import Executor

from . import space as spaces
from .space import Searched
from .trials import Score

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

MOST_LOST = 0.01
"""Most accuracy on held-out samples that a choice may lose, as a fraction, beyond one standard
error."""
PENALTY = 10.0
"""Added to the objective of what is never chosen: the greatest margin distance there is."""
RANDOM_TRIALS = 8
"""Trials that are drawn at random before TPE takes over."""
LEAST_TRIALS = 4
"""Whole trials before any is ended early."""


@dataclass(frozen=True)
class Limits:
    """What bounds a search and a choice."""

    trials: int
    """Most trials, the default included."""
    epochs: float | None = None
    """Most epochs-equivalent of the search, the making of its problems included."""
    making_epochs: float = 0.0
    """What making the problems cost, in epochs-equivalent."""
    budget: float = 1.0
    """Most that a run may cost, as a share of retraining."""
    most_delta: float | None = None
    """Most that delta may be, in percentage points."""


@dataclass(frozen=True)
class Outcome:
    """A trial as it ended."""

    number: int
    status: str
    """`ok`, `pruned`, `failed`, or why it is never chosen."""
    settings: dict[str, Any]
    """The values that were drawn, by dotted name. Empty: the defaults."""
    scores: tuple[Score, ...]
    """Per problem, as far as it ran."""
    is_default: bool

    @property
    def objective(self) -> float:
        """The margin distance, mean over the problems that ran."""
        return fmean(one.margin_distance for one in self.scores)

    @property
    def delta_signed(self) -> float:
        """The signed delta in percentage points, mean over the problems that ran."""
        return fmean(one.delta_signed for one in self.scores)

    @property
    def epochs_equivalent(self) -> float:
        """Cost of the trial."""
        return sum(one.epochs_equivalent for one in self.scores)


@dataclass(eq=False)
class _Running:
    trial: "Trial"
    settings: dict[str, Any]
    scores: list[Score] = field(default_factory=list)


def optuna() -> Any:
    """Optuna, which is an extra.

    Raises:
        UserError: Optuna is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("`mubench tune` needs Optuna: pip install 'mubench[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Search:
    """A search that goes on from where the last one was killed."""

    def __init__(
        self,
        file: Path,
        space: Sequence[Searched],
        limits: Limits,
        run: Callable[[dict[str, Any], int], Callable[[], Score]],
        num_problems: int,
        *,
        seed: int = 0,
        workers: int = 1,
        survey: bool = False,
    ):
        """Opens the file of the trials, or begins one.

        Args:
            file: the SQLite file.
            space: what is searched.
            limits: what bounds the search.
            run: makes the job that runs settings on the problem of a number.
            num_problems: how many problems there are.
            seed: of the draws.
            workers: trials at once.
            survey: True to draw all trials at random and to end none early, for a fair sample of
                settings.
        """
        lib = optuna()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._failed = lib.trial.TrialState.FAIL
        self._pruned = lib.trial.TrialState.PRUNED
        self._states = lib.trial.TrialState
        self._space, self._limits, self._run = space, limits, run
        self._num_problems = num_problems
        self._storage = lib.storages.RDBStorage(f"sqlite:///{file}")
        self._study: Study = lib.create_study(
            storage=self._storage, study_name="mubench", load_if_exists=True
        )
        self._recover()
        # Another seed after a kill, or the same values would be drawn again.
        seed = derive_seed("tune", seed, len(self._study.trials)) % 2**32
        if survey:
            self._study.sampler = lib.samplers.RandomSampler(seed=seed)
            self._study.pruner = lib.pruners.NopPruner()
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lib.exceptions.ExperimentalWarning)
            self._study.sampler = lib.samplers.TPESampler(
                seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=workers > 1
            )
        self._study.pruner = lib.pruners.MedianPruner(n_startup_trials=LEAST_TRIALS)

    def close(self) -> None:
        """Closes the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _recover(self) -> None:
        """Tells of trials that a kill left running, and queues their values again."""
        for trial in self._study.get_trials(states=(self._states.RUNNING,)):
            self._storage.set_trial_user_attr(trial._trial_id, "status", "killed")
            self._study.tell(trial.number, state=self._failed)
            is_default = bool(trial.user_attrs.get("default"))
            self._study.enqueue_trial(trial.params, user_attrs={"default": is_default})
        if not any(
            one.user_attrs.get("default") and one.user_attrs.get("status") != "killed"
            for one in self._study.trials
        ):
            values = spaces.defaults(self._space)
            self._study.enqueue_trial(values, user_attrs={"default": True})

    @property
    def outcomes(self) -> list[Outcome]:
        """The trials that ended, those of earlier runs included; not those that were killed."""
        ended = (self._states.COMPLETE, self._failed, self._pruned)
        trials = self._study.get_trials(states=ended)
        return [_outcome(one) for one in trials if one.user_attrs.get("status") != "killed"]

    @property
    def making_epochs(self) -> float:
        """What making the problems cost."""
        return self._limits.making_epochs

    @property
    def epochs_equivalent(self) -> float:
        """What the search has cost, with what was killed."""
        scores = [one for t in self._study.trials for one in t.user_attrs.get("scores", ())]
        return self._limits.making_epochs + sum(float(s["epochs_equivalent"]) for s in scores)

    @property
    def best(self) -> Outcome | None:
        """The outcome with the least objective among those that may be chosen, if there is one."""
        fit = [one for one in self.outcomes if one.status == "ok"]
        return min(fit, key=lambda one: (one.objective, one.number)) if fit else None

    def go_on(self, executor: Executor, on_end: Callable[[Outcome], None]) -> None:
        """Runs trials until a limit is reached.

        Args:
            executor: runs the jobs.
            on_end: is told of each trial that ended.
        """
        running: dict[Future[Score], _Running] = {}
        while True:
            while len(running) < executor.num_workers and self._has_room(len(running)):
                one = self._begin()
                running[executor.submit(self._run(one.settings, 0))] = one
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                one = running.pop(future)
                if self._is_over(one, _score(future)):
                    on_end(_outcome(self._study.trials[one.trial.number]))
                else:
                    job = self._run(one.settings, len(one.scores))
                    running[executor.submit(job)] = one

    def _has_room(self, num_running: int) -> bool:
        outcomes, limits = self.outcomes, self._limits
        if not outcomes and not num_running:
            return True  # the default runs whatever it costs
        if len(outcomes) + num_running >= limits.trials:
            return False
        if limits.epochs is None:
            return True
        if not outcomes:
            return False  # nobody knows what a trial costs
        each = fmean(one.epochs_equivalent for one in outcomes)
        return self.epochs_equivalent + (num_running + 1) * each <= limits.epochs

    def _begin(self) -> _Running:
        trial = self._study.ask()
        space = self._space
        if trial.user_attrs.get("default"):
            space = [one for one in space if one.holds_default]
            for one in space:
                one.draw(trial)
            return _Running(trial, {})
        return _Running(trial, spaces.draw(space, trial))

    def _is_over(self, one: _Running, score: Score) -> bool:
        """Notes a score; true if the trial has ended with it."""
        trial = one.trial
        one.scores.append(score)
        trial.set_user_attr("scores", [asdict(each) for each in one.scores])
        if score.status != "ok":
            trial.set_user_attr("status", f"{score.status}: {score.error}")
            self._study.tell(trial, state=self._failed)
            return True
        value = fmean(each.margin_distance for each in one.scores)
        is_last = len(one.scores) == self._num_problems
        if reason := self._unfit(one.scores, is_last):
            trial.set_user_attr("status", reason)
            self._study.tell(trial, value + PENALTY)
            return True
        trial.report(value, step=len(one.scores))
        if is_last:
            trial.set_user_attr("status", "ok")
            self._study.tell(trial, value)
            return True
        if not trial.user_attrs.get("default") and trial.should_prune():
            trial.set_user_attr("status", "pruned")
            self._study.tell(trial, state=self._pruned)
            return True
        return False

    def _unfit(self, scores: Sequence[Score], is_last: bool) -> str | None:
        """Why a trial is never chosen, or None. All but the cost is told of the whole trial."""
        if scores[-1].retrain_share > self._limits.budget:
            return "over budget"
        if not is_last:
            return None
        lost = fmean(one.lost_accuracy for one in scores)
        stderr = sum(one.lost_stderr**2 for one in scores) ** 0.5 / len(scores)
        if lost - stderr > MOST_LOST:
            return "loses accuracy"
        delta = abs(fmean(one.delta_signed for one in scores))
        if self._limits.most_delta is not None and delta > self._limits.most_delta:
            return "delta too large"
        return None


def _score(future: "Future[Score]") -> Score:
    """The score of a job; a job that broke off is a failure of its trial."""
    try:
        return future.result()
    except UserError as error:  # such as settings that the method's class refuses
        return Score("error", str(error).partition("\n")[0], 0.0, 0.0)
    except RuntimeError as error:  # a worker was killed, or ran out of memory
        return Score("error", f"{type(error).__name__}: {error}".partition("\n")[0], 0.0, 0.0)


def _outcome(trial: "FrozenTrial") -> Outcome:
    is_default = bool(trial.user_attrs.get("default"))
    return Outcome(
        number=trial.number,
        status=trial.user_attrs.get("status", ""),
        settings={} if is_default else dict(trial.params),
        scores=tuple(Score(**one) for one in trial.user_attrs.get("scores", ())),
        is_default=is_default,
    )
