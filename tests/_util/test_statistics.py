"""Intervals of means: Student's t by hand, pairs, and what lies below zero."""

import numpy as np
import pytest

from mubench._util.statistics import MeanInterval, mean_interval, mean_intervals, paired_interval


def test_an_interval_by_hand():
    # Deviation 2, standard error 2 / sqrt 3, Student's t with 2 degrees of freedom 4.302653.
    interval = mean_interval([1.0, 3.0, 5.0])
    assert interval.mean == 3
    assert interval.half_width == pytest.approx(4.302653 * 2 / 3**0.5, rel=1e-6)


def test_two_values_have_no_interval():
    interval = mean_interval([1.0, 5.0])
    assert (interval.mean, interval.half_width) == (3, None)
    assert not interval.excludes_zero
    assert not MeanInterval(-5.0, None).is_below_zero


def test_each_column_has_its_own_interval():
    values_CM = np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]])
    intervals = mean_intervals(["first", "second"], values_CM)
    assert intervals == {"first": mean_interval([1.0, 3.0, 5.0]), "second": MeanInterval(7.0, 0.0)}


def test_a_pair_is_compared_over_the_cases_that_both_have():
    these = {"a": 2.0, "b": 12.0, "c": 22.0, "only here": 100.0}
    those = {"c": 21.0, "a": 1.0, "b": 11.0, "only there": -100.0}
    difference = paired_interval(these, those)
    assert difference == MeanInterval(1.0, 0.0)  # though either alone differs by ten between cases
    assert difference.excludes_zero
    assert not paired_interval(those, these).half_width


@pytest.mark.parametrize(
    ("mean", "half_width", "is_below", "excludes"),
    [
        (-2.0, 1.0, True, True),
        (2.0, 1.0, False, True),
        (-1.0, 2.0, False, False),
        (-1.0, 1.0, False, False),
        (-1e-12, 0.0, False, False),  # what rounding makes is no difference
    ],
)
def test_which_side_of_zero(mean, half_width, is_below, excludes):
    interval = MeanInterval(mean, half_width)
    assert (interval.is_below_zero, interval.excludes_zero) == (is_below, excludes)
