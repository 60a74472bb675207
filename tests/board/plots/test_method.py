"""The plot of one method: a point per entry and case, between floor and nothing."""

import numpy as np
import pytest

from mubench.board.plots.method import method
from tests.helpers.boards import boards


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_a_point_per_entry_and_case_in_the_order_of_sizes(lab):
    lab.add_entry("alpha", accuracy=0.7, parameters={"lr": 0.7}, changed=("lr",))
    (board,) = boards(lab)
    margins, deltas = method(board, "alpha").axes
    cases = [f"{name}-{size}" for size in (20, 40, 80) for name in "ab"]
    assert [tick.get_text() for tick in margins.get_xticklabels()] == cases
    entries = board.measured_entries("alpha")
    assert len(entries) == 2
    for axes, measure in ((margins, "margin_distance"), (deltas, "delta_signed")):
        drawn = lines(axes)
        for entry in entries:
            points = drawn[entry.label]
            means = entry.case_means[measure]
            assert points.get_ydata() == pytest.approx([means[case] for case in cases])
            assert np.abs(points.get_xdata() - np.arange(len(cases))).max() < 0.5
        first, second = (drawn[entry.label].get_xdata() for entry in entries)
        assert (first < second).all(), "equal values show side by side"


def test_floor_and_nothing_stand_beside_the_points(lab):
    (board,) = boards(lab)
    drawn = lines(method(board, "alpha").axes[0])
    (entry,) = board.measured_entries("alpha")
    cases = sorted(entry.case_means["delta"], key=lambda case: (board.task.case(case).size, case))
    floor = board.floor_means("margin_distance")
    assert drawn["floor"].get_ydata() == pytest.approx([floor[case] for case in cases])
    nothing = entry.case_means["nothing_margin_distance"]
    expected = [nothing[case] for case in cases]
    assert drawn["nothing"].get_ydata() == pytest.approx(expected, nan_ok=True)


def test_cases_that_were_not_measured_are_left_out_and_the_name_says_so(lab):
    lab.add("partial", "a-20")
    (board,) = boards(lab)
    figure = method(board, "partial")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["a-20"]
    assert "partial*" in lines(figure.axes[0])
    assert figure.texts[-1].get_text().endswith("*: cases or seeds are missing.")


def test_a_long_name_and_the_names_of_its_entries_do_not_hide_each_other(lab):
    name = "a-method-with-a-name-that-takes-much-room"
    lab.add_entry(name)
    figure = method(boards(lab)[0], name)
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    texts = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert not legend.overlaps(texts[figure.get_suptitle()])
    assert not any(legend.overlaps(axes.title.get_window_extent()) for axes in figure.axes)
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
