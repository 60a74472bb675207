"""The plot case by case: a row an entry."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mubench._util.statistics import Interval
from mubench.board.ranking import TaskBoard

from .figure import GREY, blank
from .style import Looks, Style, name, shown

# Case by case


def cases(board: TaskBoard, title: str, looks: Looks) -> Figure:
    """A row an entry: delta, and label gain, which the sample test asks about."""
    entries = shown(board)
    floor = {measure: board.floor_means(measure) for measure in board.floor_intervals}
    rows = [(name(e), looks[e.method], e.case_means, e.intervals) for e in entries]
    if floor:
        rows.append(("floor", Style(GREY, "o"), floor, board.floor_intervals))
    height = 1.05 + 0.24 * len(rows)
    footnote = "Dots: cases, mean over seeds. Bars: mean and 95% interval."
    figure = blank(height, board, title, footnote)
    figure.subplots_adjust(right=0.985, top=1 - 0.55 / height, bottom=0.45 / height, wspace=0.06)
    panels = (
        ("delta", "δ, points", 1),
        ("label_gain", "label gain, points (0: constant guess)", 100),
    )
    for position, (measure, heading, scale) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, position)
        axes.set_title(heading)
        for row, (_, style, case_means, intervals) in enumerate(rows):
            values = [scale * value for _, value in sorted(case_means[measure].items())]
            _strip(axes, row, values, style, intervals[measure], scale)
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
    axes: Axes, row: int, values: Sequence[float], style: Style, interval: Interval, scale: float
) -> None:
    """Dots in a row, staggered so that equal ones show, and their mean below."""
    stagger = [row - 0.12 + 0.16 * (i % 3 - 1) for i in range(len(values))]
    axes.plot(values, stagger, style.marker, color=style.colour, ms=2.6, alpha=0.55, mew=0)
    axes.errorbar(
        scale * interval.mean, row + 0.25, xerr=scale * (interval.half_width or 0), fmt="|",
        color=style.colour, ms=5, mew=1.4, elinewidth=1.2,
    )  # fmt: skip
