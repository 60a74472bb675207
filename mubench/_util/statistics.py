"""The statistics of the board: means with their intervals, and telling two methods apart.

All intervals are Student's t at 95%, of values that stand for independent cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from .arrays import Floats

CONFIDENCE = 0.95
LEAST_CASES = 3  # two say next to nothing about a third: their interval would fill every plot
ROUNDING = 1e-9
"""Differences up to this are none: two ways to the same number may differ by so much."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    half_width: float | None
    """None: of fewer than `LEAST_CASES` values, so anything is possible."""

    @property
    def is_below_zero(self) -> bool:
        """Whether all of it is."""
        return self.half_width is not None and self.mean + self.half_width < -ROUNDING

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side."""
        return self.half_width is not None and abs(self.mean) > self.half_width + ROUNDING


def mean_intervals(names: Sequence[str], values_CM: Floats) -> dict[str, Interval]:
    """Of the mean over the rows (cases) of each column (measure), by name."""
    count = len(values_CM)
    means = values_CM.mean(axis=0).tolist()
    if count < LEAST_CASES:
        return {name: Interval(mean, None) for name, mean in zip(names, means, strict=True)}
    half_widths = values_CM.std(axis=0, ddof=1) * (_t_quantile(count - 1) / count**0.5)
    return {
        name: Interval(mean, half_width)
        for name, mean, half_width in zip(names, means, half_widths.tolist(), strict=True)
    }


def mean_interval(values: Sequence[float]) -> Interval:
    """Of the mean of at least one value."""
    return mean_intervals(["mean"], np.array(values)[:, None])["mean"]


def paired_interval(these: Mapping[str, float], those: Mapping[str, float]) -> Interval:
    """Of the mean difference between two methods over the cases that both have, at least one.

    A hard case is hard for both, so the difference varies less between cases than either does.
    """
    return mean_interval([these[case] - those[case] for case in these if case in those])


@cache
def _t_quantile(freedom: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
