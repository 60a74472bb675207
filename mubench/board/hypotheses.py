"""Tests of hypotheses over cases: a few values, paired, with no assumption of normality.

Each test takes differences per case. The unit of evidence is the case, never the sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from mubench._util.arrays import Floats
from mubench._util.statistics import CONFIDENCE, t_quantile

SIGNIFICANCE = 0.05
"""Probability of a false claim that is accepted, over all claims of one kind about a task."""
POWER = 0.8
"""Probability with which a difference is found that a design can tell."""
MOST_SIGN_PATTERNS = 2**14
"""Up to so many patterns of signs, all are tried. Above, so many are drawn."""
MOST_ORDERS = math.factorial(8)
"""Up to so many orders, all are tried. Above, so many are drawn."""


def least_p(count: int) -> float:
    """The least one-sided p of a sign-flip test over so many cases: all differences agree."""
    return 0.5**count


def can_show(count: int) -> bool:
    """True if so many cases are enough for a verdict on a single entry."""
    return least_p(count) < SIGNIFICANCE


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means with its interval."""

    value: float
    low: float | None
    """Lower end of the 95% interval. None: the interval is unbounded."""
    high: float | None
    """Upper end of the 95% interval. None: the interval is unbounded."""


def sign_flip_p(
    differences_CE: Floats, alternative: Literal["two-sided", "greater"]
) -> list[float]:
    """The exact sign-flip test: p of E null hypotheses, each of which says that a mean is zero.

    If a difference is as likely above zero as below, each pattern of signs is equally likely. The p
    is the share of patterns whose mean is as far from zero as the one seen (Fisher 1935).

    Args:
        differences_CE: (C, E), one row per case and one column per hypothesis.
        alternative: `greater` to claim that the mean is above zero.
    """
    if not differences_CE.shape[1]:
        return []
    tested = stats.permutation_test(
        (differences_CE,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        alternative=alternative,
        n_resamples=MOST_SIGN_PATTERNS,
        rng=np.random.default_rng(0),
    )
    p_E: list[float] = np.asarray(tested.pvalue).tolist()
    return p_E


def order_p(first_M: Floats, second_M: Floats) -> float:
    """The exact test of Kendall's tau: two-sided p that the orders of M items are unrelated.

    If they are, each order of the one is equally likely. The p is the share of orders that agree or
    disagree as far as the one seen (Kendall 1938). Ties are as they are seen, so they cost nothing.

    Args:
        first_M: at least two numbers, by which the items are ordered.
        second_M: numbers of the same items.
    """
    second_MM = np.sign(second_M[:, None] - second_M)

    def agreeing(values_XM: Floats, axis: int) -> Floats:
        """Pairs in one order less pairs in the other, twice; (X,)."""
        signs_XMM = np.sign(values_XM[..., :, None] - values_XM[..., None, :])
        agreeing_X: Floats = (signs_XMM * second_MM).sum(axis=(-1, -2))
        return agreeing_X

    tested = stats.permutation_test(
        (first_M,),
        agreeing,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=MOST_ORDERS,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of tests, adjusted so that any false claim has `SIGNIFICANCE`."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests  # here: a second to import

    adjusted: list[float] = multipletests(p_values, SIGNIFICANCE, method="holm")[1].tolist()
    return adjusted


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of tests, adjusted so that few claims of many are false.

    Of all claims that are made, the expected share that is false is bounded, not the chance of any
    (Benjamini and Hochberg 1995). So what is shown of good entries does not go away as bad ones
    join them.
    """
    return stats.false_discovery_control(p_values).tolist() if p_values else []


def equivalence_p(differences: Sequence[float], margin: float) -> float:
    """The p of two one-sided t tests (Schuirmann 1987): the mean lies within a margin of zero.

    Args:
        differences: at least two, one per case.
        margin: above zero, in the unit of the differences.
    """
    if np.ptp(differences) == 0:  # the t test would divide zero by zero
        return 0.0 if abs(differences[0]) < margin else 1.0
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))


def ratio_of_means(numerators_C: Floats, denominators_C: Floats) -> Ratio | None:
    """The ratio of two means over the same cases, with Fieller's 95% interval (Fieller 1954).

    Args:
        numerators_C: one per case, (C,).
        denominators_C: one per case, (C,).

    Returns:
        The ratio. Its interval is unbounded if the mean of the denominators is not told from zero.
        None if that mean is not above zero, because the ratio then says nothing.
    """
    count = len(numerators_C)
    top, bottom = float(numerators_C.mean()), float(denominators_C.mean())
    if bottom <= 0:
        return None
    if count < 3:
        return Ratio(top / bottom, None, None)
    (var_top, cov), (_, var_bottom) = np.cov(numerators_C, denominators_C) / count
    t_squared = t_quantile((1 + CONFIDENCE) / 2, count - 1) ** 2
    # The ratios r for which the mean of top - r * bottom is not told from zero, by its t test.
    a = bottom**2 - t_squared * var_bottom
    b = top * bottom - t_squared * cov
    c = top**2 - t_squared * var_top
    if a <= 0:
        return Ratio(top / bottom, None, None)
    half_width = float(np.sqrt(max(b**2 - a * c, 0.0)) / a)
    center = float(b / a)
    return Ratio(top / bottom, center - half_width, center + half_width)


def least_difference(spread: float, count: int) -> float:
    """The least difference that a paired t test finds with `POWER`.

    Args:
        spread: standard deviation of the difference over cases, in any unit.
        count: cases, at least two.

    Returns:
        The difference, in the same unit.
    """
    from statsmodels.stats.power import TTestPower  # here: a second to import

    effect = TTestPower().solve_power(nobs=count, alpha=SIGNIFICANCE, power=POWER)
    return float(effect) * spread
