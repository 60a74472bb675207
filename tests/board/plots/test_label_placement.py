"""Names in plots do not overlap."""

from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench.board.plots.label_placement import Label, _spread, beside_points


@pytest.mark.parametrize("wanted", [[], [5], [1, 2, 3], [50, 50, 50], [1, 1, 99, 99, 50]])
def test_labels_at_line_ends_do_not_overlap(wanted):
    placed = _spread(sorted(wanted), 10, 0, 100)
    assert len(placed) == len(wanted)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(placed))
    assert all(0 <= p <= 100 for p in placed)


def test_labels_beside_points_do_not_overlap():
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [Label(f"method-{i}", 0.5 + i / 100, 0.5, "black") for i in range(6)]
    beside_points(axes, labels)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
