"""How well one kind of tuning problem orders settings as another does.

Shape suffixes: T trials, P problems.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mubench._util.errors import UserError
from mubench._util.workers import Executor

from .study import Outcome
from .trials import Score

LEAST_TRIALS = 3
"""Fewer trials have no order to speak of."""


@dataclass(frozen=True)
class Agreement:
    """The trials of a search, run again on other problems."""

    spearman: float
    """Rank correlation of the two objectives over the trials."""
    among_others: float | None
    """What to expect of it: rank correlation of one other problem with the mean of the rest, mean
    over the other problems. None for a single one."""
    num_trials: int
    epochs_equivalent: float
    """What running them again cost."""


def agreement(
    outcomes: Sequence[Outcome],
    num_problems: int,
    run: Callable[[dict[str, Any], int], Callable[[], Score]],
    num_others: int,
    executor: Executor,
) -> Agreement:
    """Runs the trials of a search on other problems, and compares the order of the objectives.

    Args:
        outcomes: of the search. Only those that ran on all of its problems count.
        num_problems: of the search.
        run: makes the job that runs settings on the other problem of a number.
        num_others: how many other problems there are.
        executor: runs the jobs.

    Raises:
        UserError: too few trials ran everywhere.
    """
    whole = [
        one
        for one in outcomes
        if len(one.scores) == num_problems and all(score.status == "ok" for score in one.scores)
    ]
    futures = [
        [executor.submit(run(one.settings, number)) for number in range(num_others)]
        for one in whole
    ]
    scores = [[future.result() for future in row] for row in futures]
    kept = [
        (one.objective, [score.margin_distance for score in row])
        for one, row in zip(whole, scores, strict=True)
        if all(score.status == "ok" for score in row)
    ]
    if len(kept) < LEAST_TRIALS:
        raise UserError(f"only {len(kept)} trials ran on all problems: --check needs more --trials")
    cost = sum(score.epochs_equivalent for row in scores for score in row)
    objectives_T = np.array([objective for objective, _ in kept])
    others_TP = np.array([distances for _, distances in kept])
    return Agreement(
        spearman=_spearman(objectives_T, others_TP.mean(1)),
        among_others=_among(others_TP),
        num_trials=len(kept),
        epochs_equivalent=cost,
    )


def _among(distances_TP: NDArray[np.float64]) -> float | None:
    """Rank correlation of each problem with the mean of the others; mean over the problems."""
    num_problems = distances_TP.shape[1]
    if num_problems == 1:
        return None
    return fmean(
        _spearman(distances_TP[:, one], np.delete(distances_TP, one, axis=1).mean(1))
        for one in range(num_problems)
    )


def _spearman(ones_T: NDArray[np.float64], others_T: NDArray[np.float64]) -> float:
    return float(spearmanr(ones_T, others_T).statistic)
