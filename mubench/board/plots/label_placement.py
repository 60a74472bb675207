"""Placing names in plots so that no name hides another name, a marker or a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

SIZE = 7.5
"""Size of the letters, in points."""
MOST_LETTERS = 20
"""Most letters of a name at the end of a line, because the margin holds no more."""


@dataclass(frozen=True)
class Label:
    """A name, and the point that the name belongs to."""

    text: str
    x: float
    """In data coordinates, as `y`."""
    y: float
    colour: str


def beside_points(axes: Axes, labels: Sequence[Label], taken: Sequence[Bbox] = ()) -> None:
    """Writes each name near its point, at the nearest place that hides little.

    The limits and the size of the axes must be final, because places are found in pixels.

    Args:
        axes: the axes to write on.
        labels: the names and their points; earlier names choose their places first.
        taken: boxes, in pixels, to keep clear of.
    """
    figure: Any = axes.figure
    renderer = figure.canvas.get_renderer()
    point = figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    where = [axes.transData.transform((label.x, label.y)) for label in labels]
    boxes = [Bbox.from_bounds(x - 4 * point, y - 4 * point, 8 * point, 8 * point) for x, y in where]
    boxes += taken
    for label, (x, y) in zip(labels, where, strict=True):
        text = axes.annotate(
            label.text, (label.x, label.y), (0, 0), textcoords="offset points",
            fontsize=SIZE, color=label.colour, ha="center", va="center", zorder=5,
        )  # fmt: skip
        size = text.get_window_extent(renderer)
        best = None
        for radius in (6, 10, 16, 24, 34, 46):
            for step in (0, 4, 1, 7, 2, 6, 3, 5, 0.5, 7.5, 3.5, 4.5):
                across, up = cos(step * pi / 4), sin(step * pi / 4)
                dx = across * (radius * point + size.width / 2)
                dy = up * (radius * point + size.height / 2)
                left, bottom = x + dx - size.width / 2, y + dy - size.height / 2
                box = Bbox.from_bounds(left, bottom, size.width, size.height)
                hidden = sum(_overlap(box, other) for other in boxes)
                hidden += 3 * (size.width * size.height - _overlap(box, frame))
                cost = hidden + radius * point * 2
                if best is None or cost < best[0]:
                    best = cost, box, (dx / point, dy / point), radius
        assert best
        _, box, offset, radius = best
        boxes.append(box)
        text.set_position(offset)
        if radius > 10:
            edge = (offset[0] * (1 - size.width / point / 2 / max(abs(offset[0]), 1e-9)), offset[1])
            axes.annotate(
                "", (label.x, label.y), edge, textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5}, zorder=1,
            )  # fmt: skip


def _overlap(box: Bbox, other: Bbox) -> float:
    """The area that two boxes share, in square pixels."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(max(width, 0) * max(height, 0))


def at_line_ends(axes: Axes, labels: Sequence[Label]) -> None:
    """Writes each name to the right of the axes, as level with the end of its line as fits."""
    figure: Any = axes.figure
    height = SIZE * 1.25 * figure.dpi / 72
    frame = axes.get_window_extent(figure.canvas.get_renderer())
    ordered = sorted(labels, key=lambda label: label.y)
    wanted = [axes.transData.transform((label.x, label.y))[1] for label in ordered]
    for label, pixel in zip(ordered, _spread(wanted, height, frame.y0, frame.y1), strict=True):
        level = (pixel - frame.y0) / frame.height
        is_long = len(label.text) > MOST_LETTERS
        axes.annotate(
            label.text[: MOST_LETTERS - 1] + "…" if is_long else label.text,
            (label.x, label.y), (1.05, level), textcoords="axes fraction",
            fontsize=SIZE, color=label.colour, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkA": 1,
                        "shrinkB": 3, "relpos": (0, 0.5)},
        )  # fmt: skip


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising positions that are at least `gap` apart and near the wanted ones.

    Neighbours that are too close become a block around their mean, until no two blocks overlap.

    Args:
        wanted: the best positions, rising, in pixels.
        gap: the least distance between two positions, in pixels.
        low: the lowest position that is allowed, in pixels.
        high: the highest; the gap counts for more where both cannot be had.
    """
    blocks: list[tuple[float, int]] = []  # centre, members
    for position in wanted:
        blocks.append((position, 1))
        while len(blocks) > 1:
            (before, m), (after, n) = blocks[-2:]
            if after - before >= gap * (m + n) / 2:
                break
            blocks[-2:] = [((before * m + after * n) / (m + n), m + n)]
    placed = [
        centre + gap * (i - (members - 1) / 2) for centre, members in blocks for i in range(members)
    ]
    # A block may have grown over an end: move it back inside, and its neighbours along with it.
    for i, position in enumerate(placed):
        placed[i] = max(position, placed[i - 1] + gap if i else low)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < len(placed) else high)
    return placed
