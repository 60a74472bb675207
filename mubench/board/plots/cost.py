"""The plot of cost against alignment: how close each entry is to a gold, for what cost."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from mubench.board.ranking import Entry, Standing, TaskBoard
from mubench.record.measures import MEASURES

from .figure import FLOOR, GREY, blank
from .label_placement import SIZE, Label, beside_points
from .style import Looks, display_name, shown

PANELS = ("margin_distance", "delta")
"""The measure of each panel: what verdicts rest on, and what papers print."""
PADDING = 6
"""Pixels that names keep from lines."""

Corners = list[tuple[float, float]]
"""Points of a line: the share of the retraining cost as a fraction, and the measure."""


def cost(board: TaskBoard, title: str, looks: Looks) -> Figure:
    """Margin distance and delta against the share of the retraining cost.

    Args:
        board: the board of a task with at least one measured entry.
        title: the title of the figure.
        looks: method to style.
    """
    fronts = {name: _front(board, name) for name in PANELS}
    has_line = any(len(front) > 1 for front in fronts.values())
    footnote = (
        "Bars: 95% over cases. "
        + ("Line: Pareto front of what is better than nothing. " if has_line else "")
        + "Hollow: not shown to be better than nothing, or loses accuracy. Grey: controls."
    )
    figure = blank(3.6, board, title, footnote)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.84, bottom=0.2, wspace=0.2)
    for position, name in enumerate(PANELS, 1):
        axes = figure.add_subplot(1, 2, position)
        axes.set_title(MEASURES[name].axis_title)
        axes.set_xlabel(f"{MEASURES['epochs_equivalent'].title}, share of retraining")
        _scatter(axes, board, looks, name, fronts[name])
    return figure


def _share(entry: Entry) -> float:
    """The cost of an entry as a fraction of retraining's, both in epochs-equivalent."""
    cost = entry.intervals
    return cost["epochs_equivalent"].mean / cost["retrain_epochs_equivalent"].mean


def _front(board: TaskBoard, measure: str) -> Corners:
    """Cost and measure of each ranked entry that is better than every cheaper one."""
    front: Corners = []
    points = [(_share(e), e.intervals[measure].mean, e) for e in shown(board)]
    for share, level, entry in sorted(points, key=lambda point: point[:2]):
        is_candidate = entry.passes and entry.standing is Standing.RANKED
        if is_candidate and (not front or level < front[-1][1]):
            front.append((share, level))
    return front


def _scatter(axes: Axes, board: TaskBoard, looks: Looks, measure: str, front: Corners) -> None:
    """Draws the entries, the front and the floor, then the names where there is room.

    Args:
        axes: the axes to draw on.
        board: the board of the task.
        looks: method to style.
        measure: the name of the measure, whose scale is 1.
        front: the corners of the Pareto front.
    """
    points, bars = [], []
    for entry in shown(board):
        style, value = looks[entry.method], entry.intervals[measure]
        share = _share(entry)
        half_width = value.half_width or 0
        points.append((share, value.mean, entry))
        bars.append([(share, value.mean - half_width), (share, value.mean + half_width)])
        axes.errorbar(
            share, value.mean, yerr=half_width, color=style.colour,
            fmt=style.marker, markersize=5.5, elinewidth=0.8, zorder=3,
            markerfacecolor=style.colour if entry.passes else "white",
        )  # fmt: skip
    axes.step([x for x, _ in front], [y for _, y in front], where="post", color="black", lw=0.8)
    axes.set_xscale("symlog", linthresh=0.01, linscale=0.3)  # a method may cost nothing at all
    ticks = [0, 0.01, 0.1, 1]
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_xlim(-0.005, 3)
    axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])  # a marker at zero shows as whole
    taken = [box for corners in (front, *bars) for box in _segments(axes, corners)]
    if floor := board.floor_intervals.get(measure):
        half_width = floor.half_width or 0
        low, high = max(floor.mean - half_width, 0), floor.mean + half_width
        axes.axhspan(low, high, color=FLOOR, lw=0, zorder=0)
        axes.axhline(floor.mean, color=GREY, lw=0.6, zorder=0)
        word = axes.text(3, high, "floor ", ha="right", va="bottom", fontsize=SIZE, color=GREY)
        taken += [word.get_window_extent()]
        taken += _segments(axes, [(x, floor.mean) for x in axes.get_xlim()])
    labels = [Label(display_name(e), x, y, looks[e.method].colour) for x, y, e in points]
    beside_points(axes, labels, taken)


def _segments(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[Bbox]:
    """The boxes, in pixels, around the segments of a line that goes in steps."""
    boxes = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        for ends in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            (x0, y0), (x1, y1) = axes.transData.transform(ends)
            boxes.append(Bbox.from_extents(x0, min(y0, y1), x1, max(y0, y1)).padded(PADDING))
    return boxes
