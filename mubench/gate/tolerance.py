"""How much two sets of runs on the same cases may differ without anything having changed.

This is the yardstick of `mubench regress`. A difference is how much worse new runs are in a
measure, in the measure's unit. Their mean over cases is a regression when it exceeds all of these
bounds, and so is the difference in one case:

1. Margin: `MARGINS` of the floor gap, which is the mean distance between golds. Smaller differences
   do not matter in practice.
2. Samples: a normal quantile times the standard error over the samples. The error is paired,
   because both sides see the same images. It is multiplied by the dispersion of the golds: by how
   much more another seed moves a gold than independent samples would.
3. Cases: Student's t times what the differences in the cases spread by. For the mean this is its
   standard error over the cases. For one case this is what the other cases changed by, root mean
   square: as it is, and in units of how far golds of each case are apart; the larger counts. It
   needs `CASES_FOR_TOLERANCE` cases, for one case `CASES_FOR_ONE_CASE`.
4. Seeds: Student's t times what follows from the spread between the seeds of one case, in all
   runs that either side has. It needs `LEAST_FREEDOM` degrees of freedom.

The bounds are the same where both sides have the same seeds. Another code that does the same in
another order rounds otherwise, and training magnifies that to what another seed does. Runs that
give the same readouts bit for bit have not changed, so they need no bound. Where there are neither
cases nor seeds enough for bounds 3 and 4, nothing is concluded: any conclusion would be a guess.

The cases are tested one by one with Holm's correction. In one case, the bound from samples is not
widened, and only keeps a handful of samples from deciding.

Suffixes: S seeds, C cases, N samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from mubench._util.arrays import Floats
from mubench._util.statistics import ROUNDING, t_quantile
from mubench.record.measures import MEASURES
from mubench.record.stacked import StackedReadouts, floor_values, per_sample, recompute

QUALITY = ("margin_distance", "delta", "activation_distance", "test_accuracy")
"""The measures of quality that are compared; each has a direction in `MEASURES`."""
CONFIDENCE = 0.99
"""One-sided confidence of the bounds, over all cases of a measure. It is strict, because re-runs
differ by more than any standard error knows of."""
CASES_CONFIDENCE = 0.995
"""The same of the bounds from the spreads in single cases, over all cases of a measure. It is
stricter, because some cases move more than the others let one expect."""
SAMPLES_CONFIDENCE = 0.95
"""One-sided confidence of the bound from samples in one case. It only keeps a handful of samples
from deciding, because the spreads over cases and seeds cover the noise."""
MARGINS = {
    "margin_distance": 0.03, "delta": 0.1, "activation_distance": 0.1, "test_accuracy": 0.1,
}  # fmt: skip
"""The margins as fractions of the floor gap. Of the distance between margins less counts, because
doing nothing is only a third further from a gold than another gold is."""
CASES_FOR_TOLERANCE = 4
"""Fewest cases whose spread gives a bound for the mean."""
CASES_FOR_ONE_CASE = 8
"""Fewest cases where the spread of the others gives a bound for one of them. Of an unsteady method,
the spread of three says too little of a fourth."""
LEAST_FREEDOM = 4
"""Fewest degrees of freedom with which the spread between seeds gives a bound."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison on one case: its runs scored against the baseline's golds."""

    by_seed: Mapping[str, Floats]
    """Measure to one value per seed, (S,), in the unit of the record."""
    by_sample: Mapping[str, Floats]
    """Measure to one value per sample, mean over seeds, in the unit of the record. Samples of D_f,
    (N,); for `test_accuracy` the test images. Both sides have the same samples."""
    all_by_seed: Mapping[str, Floats]
    """As `by_seed`, with the seeds that the other side lacks."""

    @classmethod
    def of(
        cls,
        models: StackedReadouts,
        golds: StackedReadouts,
        all_models: StackedReadouts | None = None,
    ) -> "Side":
        """Scores the models of one side.

        Args:
            models: one model per seed that is compared.
            golds: the golds of the case.
            all_models: one model per seed. None: those that are compared.
        """
        values, _ = recompute(models, golds)
        all_values = values if all_models is None else recompute(all_models, golds)[0]
        sampled = per_sample(models, golds) | {"test_accuracy": models.test_right_RM}
        samples = {name: sampled[MEASURES[name].samples].mean(axis=0) for name in QUALITY}
        return cls(
            {name: values[name] for name in QUALITY},
            samples,
            {name: all_values[name] for name in QUALITY},
        )

    def value(self, measure: str) -> float:
        """The mean over seeds of a measure, in the unit of the record."""
        return float(self.by_seed[measure].mean())


@dataclass(frozen=True, eq=False)
class Golds:
    """The golds of a case, and how far they are from each other."""

    models: StackedReadouts

    @cached_property
    def pairs(self) -> list[tuple[Side, Side]]:
        """Every two golds, each scored against the golds that are left; empty below three."""
        rows = range(len(self.models))
        return [
            (Side.of(self.models[[i]], others), Side.of(self.models[[j]], others))
            for i in rows
            for j in rows[i + 1 :]
            if len(others_rows := [k for k in rows if k not in (i, j)])
            for others in [self.models[others_rows]]
        ]

    @cached_property
    def _floor(self) -> Mapping[str, tuple[float, ...]]:
        return floor_values(self.models)

    def gap(self, measure: str) -> float:
        """The mean distance between golds in a measure, in its unit; 0 with a single gold."""
        count = len(self.models)
        if count < 2:
            return 0.0
        values = np.array(self._floor[measure])
        if measure == "test_accuracy":
            return float(np.abs(values[:, None] - values).sum() / (count * (count - 1)))
        return float(values.mean())

    def scale(self, measure: str) -> float:
        """How far a measure of one model moves another by seed, up to a factor that cases share.

        It is the standard error over samples of the difference between two golds, root mean square.
        """
        variances = [
            _variance(one.by_sample[measure] - other.by_sample[measure])
            for one, other in self.pairs
        ]
        return math.sqrt(float(np.mean(variances))) if any(variances) else 1.0


@dataclass(frozen=True)
class CasePair:
    """Both sides of a comparison on one case."""

    case: str
    baseline: Side
    new: Side
    golds: Golds
    """The golds that both sides are scored against."""

    def difference(self, measure: str) -> float:
        """By how much the new runs are worse, in the unit of the record; below zero: better."""
        return MEASURES[measure].loss(self.baseline.value(measure), self.new.value(measure))

    def stderr(self, measure: str) -> float:
        """The standard error of `difference`, as if the samples were independent draws."""
        return math.sqrt(_variance(self.new.by_sample[measure] - self.baseline.by_sample[measure]))

    def share_of_seeds(self, measure: str) -> float:
        """The variance of `difference` in variances of a single seed's value."""
        return sum(1 / len(side.by_seed[measure]) for side in (self.baseline, self.new))


class Tolerance:
    """The bounds of one measure, over all cases and case by case."""

    def __init__(self, pairs: Sequence[CasePair], measure: str):
        """Takes in what the bounds follow from.

        Args:
            pairs: at least one case.
            measure: the name of a measure of `QUALITY`.
        """
        self.pairs = pairs
        self.measure = measure
        self.differences_C = np.array([pair.difference(measure) for pair in pairs])
        self._stderrs_C = np.array([pair.stderr(measure) for pair in pairs])
        self._margins_C = np.array([MARGINS[measure] * pair.golds.gap(measure) for pair in pairs])
        self._scales_C = np.array([pair.golds.scale(measure) for pair in pairs])
        self._dispersion = _dispersion([pair.golds for pair in pairs], measure)
        self._seeds_variance, self._freedom = _over_seeds(pairs, measure)

    def of_mean(self) -> float | None:
        """The largest mean difference over the cases that is no regression.

        Returns:
            The bound in the unit of the record. None: nothing can be concluded.
        """
        count, margin = len(self.pairs), float(self._margins_C.mean())
        if self._is_same():
            return margin
        spreads = []
        if count >= CASES_FOR_TOLERANCE:
            between = float(self.differences_C.std(ddof=1)) / math.sqrt(count)
            spreads.append(t_quantile(CONFIDENCE, count - 1) * between)
        if self._freedom >= LEAST_FREEDOM:
            share = sum(pair.share_of_seeds(self.measure) for pair in self.pairs) / count**2
            seeds = math.sqrt(self._seeds_variance * share)
            spreads.append(t_quantile(CONFIDENCE, self._freedom) * seeds)
        if not spreads:
            return None
        sampled = self._dispersion * math.sqrt(float((self._stderrs_C**2).sum())) / count
        return max(margin, float(stats.norm.ppf(CONFIDENCE)) * sampled, *spreads)

    def worse_cases(self) -> list[tuple[CasePair, float]]:
        """The cases that are worse by themselves, each with its bound in the unit of the record."""
        worse: dict[int, float] = {}
        places = set(range(len(self.pairs)))
        # Holm's correction: cases that are found do not count for those that are left.
        while left := places - worse.keys():
            confidence = 1 - (1 - CASES_CONFIDENCE) / len(left)
            bounds = {place: self._of_case(place, confidence) for place in sorted(left)}
            found = {
                place: bound
                for place, bound in bounds.items()
                if bound is not None and self.differences_C[place] > bound + ROUNDING
            }
            if not found:
                break
            worse |= found
        return [(self.pairs[place], worse[place]) for place in sorted(worse)]

    def _of_case(self, place: int, confidence: float) -> float | None:
        """The largest difference in one case that is no regression. None: nothing is concluded.

        Args:
            place: of the case among the pairs.
            confidence: of the bounds from spreads.
        """
        count, freedom = len(self.pairs), self._freedom
        spreads = []
        if count >= CASES_FOR_ONE_CASE:
            for scales_C in (np.ones(count), self._scales_C):
                moved_C = np.delete(self.differences_C / scales_C, place) * scales_C[place]
                moved = math.sqrt(float((moved_C**2).mean()))
                spreads.append(t_quantile(confidence, count - 1) * moved)
        if freedom >= LEAST_FREEDOM:
            share = self.pairs[place].share_of_seeds(self.measure)
            seeds = math.sqrt(self._seeds_variance * share)
            spreads.append(t_quantile(confidence, freedom) * seeds)
        if not spreads:
            return None
        sampled = float(stats.norm.ppf(SAMPLES_CONFIDENCE)) * float(self._stderrs_C[place])
        return max(float(self._margins_C[place]), sampled, *spreads)

    def _is_same(self) -> bool:
        """True if no sample of any case has changed."""
        return not (self.differences_C.any() or self._stderrs_C.any())


def _variance(values_N: Floats) -> float:
    """The variance of the mean of independent values, (N,); 0 for a single value."""
    return float(values_N.var(ddof=1)) / len(values_N) if len(values_N) > 1 else 0.0


def _over_seeds(pairs: Sequence[CasePair], measure: str) -> tuple[float, int]:
    """The variance between the seeds of one case, and its degrees of freedom."""
    sides = [side.all_by_seed[measure] for pair in pairs for side in (pair.baseline, pair.new)]
    freedom = sum(len(values_S) - 1 for values_S in sides)
    squares = sum(float(((values_S - values_S.mean()) ** 2).sum()) for values_S in sides)
    return squares / max(freedom, 1), freedom


def _dispersion(golds: Sequence[Golds], measure: str) -> float:
    """How many standard errors over samples two golds are apart, root mean square; at least 1."""
    squares, variances = 0.0, 0.0
    for one, other in (pair for each in golds for pair in each.pairs):
        difference_N = one.by_sample[measure] - other.by_sample[measure]
        squares += float(difference_N.mean()) ** 2
        variances += _variance(difference_N)
    return max(1.0, math.sqrt(squares / variances)) if variances else 1.0
