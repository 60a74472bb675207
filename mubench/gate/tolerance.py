"""How much two sets of runs on the same cases may differ without anything having changed.

The yardstick of `regress`. D is the mean over cases of a measure's difference, new less baseline,
turned so that above zero is worse. It is news where it exceeds the largest of

- a tenth of the floor's gap, which is what divides one gold from another: less does not matter;
- the normal quantile times the standard error of D over the samples, paired: the same images under
  both models. Where the seeds differ it is widened by the dispersion of the golds, which is by how
  much more another seed moves a gold than independent samples would;
- where the seeds differ, Student's t times the standard error of D over the cases, from 4 cases on,
  and times the standard error that follows from the spread between seeds of one case, where at
  least 4 degrees of freedom tell it.

Runs with equal seeds on one kind of machine with the same libraries repeat each other bit for bit
as long as nothing changes, so for them the samples are the only noise. Of other seeds with neither
cases nor seeds enough, nothing is known of how much a seed matters to the method, and nothing is
concluded.

Suffixes: S seeds, G golds, N samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mubench._util.arrays import Floats
from mubench.record.stacked import Models, leave_one_out, per_sample, recompute

QUALITY = {
    "delta": 1, "activation_distance": 1, "label_accuracy": -1, "test_accuracy": -1,
}  # fmt: skip
"""Measure to the sign with which more is worse."""
REPEAT_CONFIDENCE = 0.975
SEEDS_CONFIDENCE = 0.99
"""One-sided; stricter for other seeds, which differ by more than any standard error knows of."""
MARGIN = 0.1
LEAST_CASES = 4
LEAST_FREEDOM = 4


@dataclass(frozen=True)
class Side:
    """The runs of one side on one case, scored against the golds that both sides share."""

    seeds_S: Mapping[str, Floats]
    """Measure to a value for each seed."""
    samples_N: Mapping[str, Floats]
    """Measure to a value for each sample, mean over seeds; of the same images on both sides."""

    @classmethod
    def of(cls, models: Models, golds: Models) -> "Side":
        """Scores models."""
        values, _ = recompute(models, golds)
        sampled = per_sample(models, golds)
        samples = {name: values_SN.mean(axis=0) for name, values_SN in sampled.items()}
        samples["delta"] = samples["delta_signed"]
        samples["test_accuracy"] = models.test_right_RM.mean(axis=0)
        return cls({name: values[name] for name in QUALITY}, {n: samples[n] for n in QUALITY})

    def value(self, measure: str) -> float:
        """Mean over seeds."""
        return float(self.seeds_S[measure].mean())


@dataclass(frozen=True)
class CasePair:
    """Both sides of a case."""

    case: str
    baseline: Side
    new: Side
    golds: Models

    def difference(self, measure: str) -> float:
        """Above zero: the new runs are worse."""
        return QUALITY[measure] * (self.new.value(measure) - self.baseline.value(measure))

    def variance_over_samples(self, measure: str) -> float:
        """Of `difference`, were the samples independent draws."""
        return _variance(self.new.samples_N[measure] - self.baseline.samples_N[measure])


def tolerance(pairs: Sequence[CasePair], measure: str, *, is_repeat: bool) -> float | None:
    """The largest mean difference over the cases that is no news; None: nothing can be concluded.

    Args:
        pairs: the cases.
        measure: of `QUALITY`.
        is_repeat: whether the two sides ran with equal seeds on equal machines.
    """
    count = len(pairs)
    margin = MARGIN * float(np.mean([_floor_gap(pair.golds, measure) for pair in pairs]))
    variances = [pair.variance_over_samples(measure) for pair in pairs]
    sampled = math.sqrt(sum(variances)) / count
    if is_repeat:
        return max(margin, float(stats.norm.ppf(REPEAT_CONFIDENCE)) * sampled)
    seeded = []
    if count >= LEAST_CASES:
        between = float(np.std([pair.difference(measure) for pair in pairs], ddof=1))
        seeded.append(_t_quantile(count - 1) * between / math.sqrt(count))
    sides = [side.seeds_S[measure] for pair in pairs for side in (pair.baseline, pair.new)]
    freedom = sum(len(values_S) - 1 for values_S in sides)
    if freedom >= LEAST_FREEDOM:
        squares = sum(float(((values_S - values_S.mean()) ** 2).sum()) for values_S in sides)
        share = sum(1 / len(values_S) for values_S in sides) / count**2
        seeded.append(_t_quantile(freedom) * math.sqrt(squares / freedom * share))
    if not seeded:
        return None
    dispersion = _dispersion([pair.golds for pair in pairs], measure)
    return max(margin, float(stats.norm.ppf(SEEDS_CONFIDENCE)) * dispersion * sampled, *seeded)


def _t_quantile(freedom: int) -> float:
    return float(stats.t.ppf(SEEDS_CONFIDENCE, freedom))


def _variance(values_N: Floats) -> float:
    """Of the mean of independent values."""
    return float(values_N.var(ddof=1)) / len(values_N) if len(values_N) > 1 else 0.0


def _gold_pairs(golds: Models) -> list[tuple[Side, Side]]:
    """Two golds, each scored against the others; needs three of them."""
    rows = range(len(golds.right_RN))
    return [
        (Side.of(golds[[i]], others), Side.of(golds[[j]], others))
        for i in rows
        for j in rows[i + 1 :]
        if len(others_rows := [k for k in rows if k not in (i, j)])
        for others in [golds[others_rows]]
    ]


def _dispersion(golds: Sequence[Models], measure: str) -> float:
    """How many standard errors over samples two golds are apart, root mean square; at least 1."""
    squares, variances = 0.0, 0.0
    for pair in (pair for models in golds for pair in _gold_pairs(models)):
        difference_N = pair[0].samples_N[measure] - pair[1].samples_N[measure]
        squares += float(difference_N.mean()) ** 2
        variances += _variance(difference_N)
    return max(1.0, math.sqrt(squares / variances)) if variances else 1.0


def _floor_gap(golds: Models, measure: str) -> float:
    """What divides a gold from the others in a measure; 0 with a single gold."""
    count = len(golds.right_RN)
    if count < 2:
        return 0.0
    values = np.array([float(values[measure][0]) for values in leave_one_out(golds)])
    if measure == "label_accuracy":
        return float(1 - values.mean())
    if measure == "test_accuracy":
        return float(np.abs(values[:, None] - values).sum() / (count * (count - 1)))
    return float(values.mean())
