"""The plot case by case: one row per entry."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mubench._util.statistics import MeanInterval
from mubench.board.ranking import TaskBoard
from mubench.record.measures import MEASURES, Measure

from .figure import GREY, blank
from .style import Looks, Style, display_name, shown

PANELS = ("margin_distance", "delta", "label_gain")
"""The measure of each panel."""


def cases(board: TaskBoard, title: str, looks: Looks) -> Figure:
    """A row per entry: margin distance, delta, and label gain.

    Args:
        board: the board of a task with at least one measured entry.
        title: the title of the figure.
        looks: method to style.
    """
    entries = shown(board)
    floor = {measure: board.floor_means(measure) for measure in board.floor_intervals}
    rows = [(display_name(e), looks[e.method], e.case_means, e.intervals) for e in entries]
    if floor:
        rows.append(("floor", Style(GREY, "o"), floor, board.floor_intervals))
    height = 1.05 + 0.24 * len(rows)
    footnote = (
        "Dots: cases, mean over seeds. Bars: mean and 95% interval. A constant guess has a label "
        "gain of 0."
    )
    figure = blank(height, board, title, footnote)
    figure.subplots_adjust(right=0.985, top=1 - 0.55 / height, bottom=0.45 / height, wspace=0.06)
    for position, name in enumerate(PANELS, 1):
        measure = MEASURES[name]
        axes = figure.add_subplot(1, len(PANELS), position)
        axes.set_title(measure.axis_title)
        for row, (_, style, case_means, intervals) in enumerate(rows):
            values = [value for _, value in sorted(case_means[name].items())]
            _strip(axes, row, values, intervals[name], measure, style)
        axes.axvline(0, color="black", lw=0.6, zorder=0)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [r[0] for r in rows] if position == 1 else [])
        axes.tick_params(axis="y", length=0)
        for tick, (_, style, _, _) in zip(axes.get_yticklabels(), rows, strict=False):
            tick.set_color(style.colour)
    names = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    figure.subplots_adjust(left=max(box.width for box in names) / figure.bbox.width + 0.02)
    return figure


def _strip(
    axes: Axes,
    row: int,
    values: Sequence[float],
    interval: MeanInterval,
    measure: Measure,
    style: Style,
) -> None:
    """Draws the dots of a row, staggered so that equal ones show, and their mean below.

    Args:
        axes: the axes to draw on.
        row: the position of the row, from 0 at the top.
        values: one value per case, in the unit of the record.
        interval: the mean over cases, in the unit of the record.
        measure: what the values are of.
        style: how the method looks.
    """
    scale = measure.scale
    stagger = [row - 0.12 + 0.16 * (i % 3 - 1) for i in range(len(values))]
    axes.plot(
        [scale * value for value in values], stagger, style.marker,
        color=style.colour, ms=2.6, alpha=0.55, mew=0,
    )  # fmt: skip
    axes.errorbar(
        scale * interval.mean, row + 0.25, xerr=scale * (interval.half_width or 0), fmt="|",
        color=style.colour, ms=5, mew=1.4, elinewidth=1.2,
    )  # fmt: skip
