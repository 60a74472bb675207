"""The plot case by case: a row an entry, a dot a case."""

from dataclasses import replace

import pytest

from mubench.board.plots.cases import cases
from mubench.board.plots.style import styles
from tests.helpers.boards import boards


def drawn(board):
    return cases(board, "a title", styles([board]))


def rows(figure):
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_a_row_an_entry_and_the_floor_last(lab):
    (board,) = boards(lab)
    assert rows(drawn(board)) == ["alpha", "beta", "nothing", "floor"]
    bare = replace(board, floor={}, floor_intervals={})  # as of a task with one gold
    assert rows(drawn(bare)) == ["alpha", "beta", "nothing"]


def test_a_dot_a_case_and_the_mean_below(lab):
    (board,) = boards(lab)
    first = board.entries[0]
    for axes, measure, scale in zip(
        drawn(board).axes, ("margin_distance", "delta", "label_gain"), (1, 1, 100), strict=True
    ):
        dots, mean, *_ = axes.lines
        means = first.case_means[measure]
        assert dots.get_xdata() == pytest.approx([scale * means[case] for case in sorted(means)])
        assert all(abs(y) < 0.5 for y in dots.get_ydata())  # within its row
        assert mean.get_xdata() == pytest.approx([scale * first.intervals[measure].mean])
        assert mean.get_ydata()[0] > max(dots.get_ydata())  # rows run downwards


def test_long_names_fit_beside_the_axes(lab):
    lab.add_entry("a-method-with-a-name-that-takes-much-room")
    figure = drawn(boards(lab)[0])
    for tick in figure.axes[0].get_yticklabels():
        assert tick.get_window_extent().x0 >= 0
