"""Intervals of means: Student's t by hand."""

import numpy as np
import pytest

from mubench._util.statistics import MeanInterval, mean_interval, mean_intervals


def test_an_interval_by_hand():
    # Deviation 2, standard error 2 / sqrt 3, Student's t with 2 degrees of freedom 4.302653.
    interval = mean_interval([1.0, 3.0, 5.0])
    assert interval.mean == 3
    assert interval.half_width == pytest.approx(4.302653 * 2 / 3**0.5, rel=1e-6)


def test_two_values_have_no_interval():
    interval = mean_interval([1.0, 5.0])
    assert (interval.mean, interval.half_width) == (3, None)


def test_each_column_has_its_own_interval():
    values_CM = np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]])
    intervals = mean_intervals(["first", "second"], values_CM)
    assert intervals == {"first": mean_interval([1.0, 3.0, 5.0]), "second": MeanInterval(7.0, 0.0)}
