"""Tests over cases, by hand, by enumeration and by simulation."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from mubench.board.hypotheses import (
    equivalence_p,
    false_discovery,
    holm,
    least_difference,
    order_p,
    ratio_of_means,
    sign_flip_p,
)


def by_enumeration(x):
    """The one-sided p: the share of sign patterns whose mean is at least the one seen."""
    means = [np.mean(np.multiply(x, signs)) for signs in product((1, -1), repeat=len(x))]
    return np.mean(np.array(means) >= np.mean(x) - 1e-12)


def test_sign_flip_is_the_enumeration_of_all_signs():
    rng = np.random.default_rng(0)
    x_CE = rng.normal(0.4, 1, (8, 3))
    assert sign_flip_p(x_CE, "greater") == pytest.approx([by_enumeration(x) for x in x_CE.T])
    two_sided = sign_flip_p(x_CE, "two-sided")
    least = np.minimum([by_enumeration(x) for x in x_CE.T], [by_enumeration(-x) for x in x_CE.T])
    assert two_sided == pytest.approx(2 * least)


def test_sign_flip_of_five_gains_is_one_in_32():
    assert sign_flip_p(np.array([[0.5], [0.3], [0.4], [0.2], [0.1]]), "greater") == [1 / 32]


def test_no_difference_at_all_shows_nothing():
    assert sign_flip_p(np.zeros((6, 1)), "greater") == [1]
    assert sign_flip_p(np.zeros((6, 0)), "greater") == []


def test_false_discovery_by_hand():
    assert false_discovery([0.04, 0.01, 0.02, 0.9]) == pytest.approx([0.16 / 3, 0.04, 0.04, 0.9])
    assert false_discovery([]) == []


def test_holm_by_hand():
    # Sorted .01 .02 .04, times 3 2 1, never falling: .03 .04 .04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_equivalence_needs_a_mean_near_zero_and_little_spread():
    near, far, noisy = [0.01, -0.01, 0.02, 0.0], [0.51, 0.49, 0.5, 0.5], [2.0, -2.0, 1.0, -1.0]
    assert equivalence_p(near, 0.3) < 0.01
    assert equivalence_p(far, 0.3) > 0.99
    assert equivalence_p(noisy, 0.3) > 0.3
    assert equivalence_p([0.0, 0.0, 0.0], 0.3) == 0.0
    assert equivalence_p([0.4, 0.4, 0.4], 0.3) == 1.0


def test_the_ratio_and_its_interval_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        bottom = rng.normal(1.0, 0.4, 10)
        ratio = ratio_of_means(0.6 * bottom + rng.normal(0, 0.2, 10), bottom)
        covered.append(ratio.low <= 0.6 <= ratio.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_a_ratio_over_nothing_is_no_ratio():
    values = np.array([1.0, 2.0, 3.0])
    assert ratio_of_means(values, -values) is None
    wide = ratio_of_means(values, np.array([4.0, -3.0, 0.5]))
    assert (wide.low, wide.high) == (None, None)
    assert ratio_of_means(values[:2], values[:2]).low is None
    assert ratio_of_means(2 * values, values).value == 2


def test_the_least_difference_is_found_four_times_in_five():
    from scipy import stats

    rng = np.random.default_rng(0)
    least = least_difference(2.0, 10)
    x_CR = rng.normal(least, 2.0, (10, 4000))
    found = stats.ttest_1samp(x_CR, 0).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_p_is_the_share_of_orders_that_agree_or_disagree_as_far(count):
    first = np.arange(count, dtype=float)
    taus = [stats.kendalltau(first, order).statistic for order in permutations(range(count))]
    for order in permutations(range(count)):
        seen = stats.kendalltau(first, order).statistic
        share = np.mean(np.abs(taus) >= abs(seen) - 1e-9)
        assert order_p(first, np.array(order, dtype=float)) == pytest.approx(share)


def test_p_is_that_of_the_exact_distribution_where_orders_are_drawn():
    rng = np.random.default_rng(1)
    first, second = np.arange(10.0), np.arange(10) + rng.normal(0, 6, 10)
    exact = stats.kendalltau(first, second, method="exact").pvalue
    assert 0.01 < exact < 0.2
    assert order_p(first, second) == pytest.approx(exact, abs=0.01)
