"""Where the spread comes from: by hand, in expectation, and on the page."""

import numpy as np
import pytest

from mubench.board.components import Components, crossed, variance_components
from mubench.board.pages.leaderboard import render
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


def test_by_hand():
    """Rows and columns add up, so nothing is left for the rest."""
    values = np.array([[1.0], [4.0]]) + np.array([0.0, 0.5, 1.0])
    found = variance_components(values)
    assert found.cases == pytest.approx(4.5)
    assert found.originals == pytest.approx(0.25)
    assert found.rest == pytest.approx(0.0, abs=1e-12)
    assert found.shares == pytest.approx((4.5 / 4.75, 0.25 / 4.75, 0.0))


def test_nothing_varies():
    assert variance_components(np.ones((3, 3))) == Components(0.0, 0.0, 0.0)
    assert Components(0.0, 0.0, 0.0).shares == (0.0, 0.0, 0.0)


def test_the_components_are_right_in_expectation():
    rng = np.random.default_rng(0)
    found = [
        variance_components(
            rng.normal(0, 3, (40, 1)) + rng.normal(0, 2, 30) + rng.normal(0, 1, (40, 30))
        )
        for _ in range(60)
    ]
    assert np.mean([one.cases for one in found]) == pytest.approx(9, rel=0.1)
    assert np.mean([one.originals for one in found]) == pytest.approx(4, rel=0.15)
    assert np.mean([one.rest for one in found]) == pytest.approx(1, rel=0.05)


def test_a_component_below_zero_counts_as_none():
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert variance_components(values) == Components(0.0, 0.0, pytest.approx(1.0))


def test_the_page_says_it_where_seeds_cross_originals(tmp_path):
    lab = Lab(tmp_path / "results", make_task(originals=2))
    accuracies = dict(zip(lab.cases[:3], (0.6, 0.7, 0.8), strict=True))
    for case, accuracy in accuracies.items():
        lab.add("both", case, 0, accuracy=accuracy)
    (board,) = boards(lab)
    assert crossed(board, "margin_distance") is None
    for case, accuracy in accuracies.items():
        lab.add("both", case, 1, accuracy=accuracy)
    (board,) = boards(lab)
    found = crossed(board, "margin_distance")
    assert (found.entries, found.cases, found.originals) == (1, (3, 3), 2)
    (entry,) = board.entries
    values = {
        (one.record.case, one.record.original_seed): one.values["margin_distance"]
        for one in entry.records
    }
    table = np.array([[values[case, seed] for seed in (0, 1)] for case in lab.cases[:3]])
    assert found.components == variance_components(table)
    page = render([board], [], "results")
    cases, originals, rest = (f"{share:.0%}" for share in found.components.shares)
    assert f"Where 3 cases cross 2 originals, {cases} of the variance" in page
    assert f"between cases, {originals} between originals and {rest} in the rest" in page


def test_a_task_with_one_original_has_none(tmp_path):
    lab = Lab(tmp_path / "results", make_task())
    lab.add("m", "a-50", 0)
    lab.add("m", "a-50", 1)
    (board,) = boards(lab)
    assert crossed(board, "margin_distance") is None
