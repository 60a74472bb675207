"""How well one kind of tuning problem orders settings as another does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

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
    pairs = [
        (one.objective, fmean(score.margin_distance for score in row))
        for one, row in zip(whole, scores, strict=True)
        if all(score.status == "ok" for score in row)
    ]
    if len(pairs) < LEAST_TRIALS:
        raise UserError(
            f"only {len(pairs)} trials ran on all problems: --check needs more --trials"
        )
    cost = sum(score.epochs_equivalent for row in scores for score in row)
    found = spearmanr([one for one, _ in pairs], [other for _, other in pairs])
    return Agreement(float(found.statistic), len(pairs), cost)
