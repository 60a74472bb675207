"""How much two sets of runs on the same cases may differ without anything having changed.

This is the yardstick of `mubench regress`. D is the mean over cases of a measure's difference
between new runs and baseline, turned so that above zero is worse. D is a regression when it exceeds
all of these bounds:

1. Margin: 10% of the floor gap, which is the mean distance between golds. Smaller differences do
   not matter in practice.
2. Samples: a normal quantile times the standard error of D over the samples. The error is paired,
   because both models see the same images. If the seeds differ, the bound is multiplied by the
   dispersion of the golds: by how much more another seed moves a gold than independent samples
   would.
3. Cases, if the seeds differ: Student's t times the standard error of D over the cases. This bound
   needs `CASES_FOR_TOLERANCE` cases.
4. Seeds, if the seeds differ: Student's t times the standard error that follows from the spread
   between seeds of one case. This bound needs `LEAST_FREEDOM` degrees of freedom.

Runs with equal seeds on one kind of machine with the same libraries repeat each other bit for bit
as long as nothing changes. So for such runs the samples are the only noise. If the seeds differ,
and there are neither cases nor seeds enough for bounds 3 and 4, nothing is concluded. Because the
method's spread over seeds is then unknown, any conclusion would be a guess.

Suffixes: S seeds, G golds, N samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mubench._util.arrays import Floats
from mubench._util.statistics import t_quantile
from mubench.record.measures import MEASURES
from mubench.record.stacked import StackedReadouts, floor_values, per_sample, recompute

QUALITY = ("delta", "activation_distance", "label_accuracy", "test_accuracy")
"""The measures of quality that are compared; each has a direction in `MEASURES`."""
REPEAT_CONFIDENCE = 0.975
"""One-sided confidence of the bound from samples where seeds and machine are equal."""
SEEDS_CONFIDENCE = 0.99
"""One-sided confidence of all bounds where seeds or machines differ. It is stricter, because such
runs differ by more than any standard error knows of."""
MARGIN = 0.1
"""The margin as a fraction of the floor gap."""
CASES_FOR_TOLERANCE = 4
"""Fewest cases whose spread gives a bound."""
LEAST_FREEDOM = 4
"""Fewest degrees of freedom with which the spread between seeds gives a bound."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison on one case: its runs scored against the golds of both sides."""

    by_seed: Mapping[str, Floats]
    """Measure to one value per seed, (S,), in the unit of the record."""
    by_sample: Mapping[str, Floats]
    """Measure to one value per sample, mean over seeds, in the unit of the record. Samples of D_f,
    (N,); for `test_accuracy` the test images. Both sides have the same samples."""

    @classmethod
    def of(cls, models: StackedReadouts, golds: StackedReadouts) -> "Side":
        """Scores the models of one side.

        Args:
            models: one model per seed.
            golds: the golds of the case.
        """
        values, _ = recompute(models, golds)
        sampled = per_sample(models, golds) | {"test_accuracy": models.test_right_RM}
        samples = {name: sampled[MEASURES[name].samples].mean(axis=0) for name in QUALITY}
        return cls({name: values[name] for name in QUALITY}, samples)

    def value(self, measure: str) -> float:
        """The mean over seeds of a measure, in the unit of the record."""
        return float(self.by_seed[measure].mean())


@dataclass(frozen=True)
class CasePair:
    """Both sides of a comparison on one case."""

    case: str
    baseline: Side
    new: Side
    golds: StackedReadouts
    """The golds that both sides are scored against."""

    def difference(self, measure: str) -> float:
        """By how much the new runs are worse, in the unit of the record; below zero: better."""
        return MEASURES[measure].loss(self.baseline.value(measure), self.new.value(measure))

    def variance_over_samples(self, measure: str) -> float:
        """The variance of `difference`, as if the samples were independent draws."""
        return _variance(self.new.by_sample[measure] - self.baseline.by_sample[measure])


def tolerance(pairs: Sequence[CasePair], measure: str, *, is_repeat: bool) -> float | None:
    """The largest mean difference over the cases that is no regression.

    Args:
        pairs: at least one case.
        measure: the name of a measure of `QUALITY`.
        is_repeat: True if the two sides ran with equal seeds on equal machines.

    Returns:
        The bound in the unit of the record. None: nothing can be concluded.
    """
    count = len(pairs)
    margin = MARGIN * float(np.mean([_floor_gap(pair.golds, measure) for pair in pairs]))
    variances = [pair.variance_over_samples(measure) for pair in pairs]
    sampled = math.sqrt(sum(variances)) / count
    if is_repeat:
        return max(margin, float(stats.norm.ppf(REPEAT_CONFIDENCE)) * sampled)
    seeded = []
    if count >= CASES_FOR_TOLERANCE:
        between = float(np.std([pair.difference(measure) for pair in pairs], ddof=1))
        seeded.append(t_quantile(SEEDS_CONFIDENCE, count - 1) * between / math.sqrt(count))
    sides = [side.by_seed[measure] for pair in pairs for side in (pair.baseline, pair.new)]
    freedom = sum(len(values_S) - 1 for values_S in sides)
    if freedom >= LEAST_FREEDOM:
        squares = sum(float(((values_S - values_S.mean()) ** 2).sum()) for values_S in sides)
        share = sum(1 / len(values_S) for values_S in sides) / count**2
        seeded.append(t_quantile(SEEDS_CONFIDENCE, freedom) * math.sqrt(squares / freedom * share))
    if not seeded:
        return None
    dispersion = _dispersion([pair.golds for pair in pairs], measure)
    return max(margin, float(stats.norm.ppf(SEEDS_CONFIDENCE)) * dispersion * sampled, *seeded)


def _variance(values_N: Floats) -> float:
    """The variance of the mean of independent values, (N,); 0 for a single value."""
    return float(values_N.var(ddof=1)) / len(values_N) if len(values_N) > 1 else 0.0


def _gold_pairs(golds: StackedReadouts) -> list[tuple[Side, Side]]:
    """Every two golds, each scored against the golds that are left; empty below three golds."""
    rows = range(len(golds))
    return [
        (Side.of(golds[[i]], others), Side.of(golds[[j]], others))
        for i in rows
        for j in rows[i + 1 :]
        if len(others_rows := [k for k in rows if k not in (i, j)])
        for others in [golds[others_rows]]
    ]


def _dispersion(golds: Sequence[StackedReadouts], measure: str) -> float:
    """How many standard errors over samples two golds are apart, root mean square; at least 1."""
    squares, variances = 0.0, 0.0
    for pair in (pair for models in golds for pair in _gold_pairs(models)):
        difference_N = pair[0].by_sample[measure] - pair[1].by_sample[measure]
        squares += float(difference_N.mean()) ** 2
        variances += _variance(difference_N)
    return max(1.0, math.sqrt(squares / variances)) if variances else 1.0


def _floor_gap(golds: StackedReadouts, measure: str) -> float:
    """The mean distance between golds in a measure, in its unit; 0 with a single gold."""
    count = len(golds)
    if count < 2:
        return 0.0
    values = np.array(floor_values(golds)[measure])
    if measure == "label_accuracy":
        return float(1 - values.mean())
    if measure == "test_accuracy":
        return float(np.abs(values[:, None] - values).sum() / (count * (count - 1)))
    return float(values.mean())
