"""The plot of cost against alignment: its front, its marks and its footnote."""

import pytest

from mubench.board.plots.cost import cost
from mubench.board.plots.style import styles
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


@pytest.fixture
def priced(tmp_path):
    """Eight classes, for entries of chosen cost."""
    return Lab(tmp_path / "priced", make_task(classes=tuple("abcdefgh")))


def add(lab, method, samples, **changes):
    lab.add_entry(method, forward_samples=samples, backward_samples=samples, **changes)


def drawn(lab):
    (board,) = boards(lab)
    figure = cost(board, "a title", styles([board]))
    return board, figure, " ".join(text.get_text() for text in figure.texts)


def front(axes):
    """The corners of the line that goes in steps."""
    (line,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    return line.get_xydata()


def test_the_front_is_what_no_cheaper_entry_is_as_good_as(priced):
    add(priced, "cheap", 100, accuracy=0.9)
    add(priced, "wasteful", 500, accuracy=0.95)
    add(priced, "dear", 1000, accuracy=0.72)
    board, figure, texts = drawn(priced)
    intervals = {entry.label: entry.intervals for entry in board.entries}
    assert [y for _, y in front(figure.axes[0])] == [
        intervals[label]["margin_distance"].mean for label in ("cheap", "dear")
    ]
    shares = [x for x, _ in front(figure.axes[0])]
    assert shares == pytest.approx([100 / 9000, 1000 / 9000])  # of ten passes over 900
    assert "Pareto front" in texts


def test_who_is_not_better_than_nothing_is_hollow_and_not_on_the_front(priced):
    add(priced, "guess", 100, accuracy=0.7, knowledge=0.0)
    add(priced, "knows", 1000, accuracy=0.9)
    board, figure, texts = drawn(priced)
    assert not next(e for e in board.entries if e.label == "guess").passes
    markers = {
        entry.label: line.get_markerfacecolor()
        for entry in board.entries
        for line in figure.axes[0].lines
        if line.get_marker() == styles([board])[entry.method].marker
    }
    assert markers["guess"] == "white" != markers["knows"]
    assert len(front(figure.axes[0])) == 1
    assert "Pareto front" not in texts


def test_what_costs_nothing_has_its_place(lab):
    _, figure, _ = drawn(lab)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "os"]
        assert 0 in points
        assert all(low < x < high for x in points)
    assert {text.get_text() for text in figure.axes[0].texts} >= {"nothing", "floor "}
