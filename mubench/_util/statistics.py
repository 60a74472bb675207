"""Means with confidence intervals, over values that stand for independent cases.

Intervals are two-sided Student's t intervals at 95%. A mean has the unit of the values that it is
taken of: the callers pass fractions, percentage points or seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from .arrays import Floats

CONFIDENCE = 0.95  # two-sided, as a fraction
CASES_FOR_INTERVAL = 3
"""Fewer values get no interval. The interval of two values would be too wide for any plot."""
ROUNDING = 1e-9
"""A difference up to this counts as zero. Otherwise rounding alone could tell two ways to compute
the same number apart."""


@dataclass(frozen=True)
class MeanInterval:
    """The mean of some values, with its 95% confidence interval."""

    mean: float
    """In the unit of the values."""
    half_width: float | None
    """Half the length of the interval, in the unit of the values. None: there were fewer than
    `CASES_FOR_INTERVAL` values, so the interval is unbounded."""


def mean_intervals(names: Sequence[str], values_CM: Floats) -> dict[str, MeanInterval]:
    """The mean over cases of every measure, with its interval.

    Args:
        names: the M measures, in column order.
        values_CM: (C, M), one row per case and one column per measure; at least one row.

    Returns:
        One interval per measure, by name, in the unit of its column.
    """
    count = len(values_CM)
    means = values_CM.mean(axis=0).tolist()
    if count < CASES_FOR_INTERVAL:
        return {name: MeanInterval(mean, None) for name, mean in zip(names, means, strict=True)}
    quantile = t_quantile((1 + CONFIDENCE) / 2, count - 1)
    half_widths = values_CM.std(axis=0, ddof=1) * (quantile / count**0.5)
    return {
        name: MeanInterval(mean, half_width)
        for name, mean, half_width in zip(names, means, half_widths.tolist(), strict=True)
    }


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """The mean of one or more values, with its interval, both in the unit of the values."""
    return mean_intervals(["mean"], np.array(values)[:, None])["mean"]


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The value that Student's t stays below with a given probability.

    Args:
        probability: fraction in (0, 1). This is the confidence of a one-sided bound; a two-sided
            interval of confidence c takes (1 + c) / 2.
        freedom: degrees of freedom, at least 1.
    """
    return float(stats.t.ppf(probability, freedom))
