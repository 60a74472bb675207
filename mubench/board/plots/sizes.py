"""The plot of a task with several sizes: measures over the size of the forget set."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mubench._util.statistics import CASES_FOR_INTERVAL, MeanInterval, mean_interval
from mubench.board.ranking import Entry, TaskBoard
from mubench.record.measures import MEASURES, Measure

from .figure import FLOOR, GREY, blank
from .label_placement import Label, at_line_ends
from .style import Looks, display_name, shown

PANELS = ("delta", "label_accuracy", "activation_distance", "seconds")
"""The measure of each panel."""
NORMAL = 1.96
"""Standard errors on either side of a mean that hold 95% of a normal distribution."""


def scaling(board: TaskBoard, title: str, looks: Looks) -> Figure:
    """Four measures over |D_f|.

    Args:
        board: the board of a task with several sizes and at least one measured entry.
        title: the title of the figure.
        looks: method to style.
    """
    sizes = sorted(board.task.forget.sizes)
    figure = blank(5.6, board, title, _band_note(board))
    figure.subplots_adjust(left=0.065, right=0.83, top=0.9, bottom=0.11, wspace=0.75, hspace=0.32)
    for position, measure in enumerate((MEASURES[name] for name in PANELS), 1):
        scale = measure.scale
        axes = figure.add_subplot(2, 2, position)
        axes.set_title(measure.axis_title)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        if position > 2:
            axes.set_xlabel("|D_f|, samples")
        ends = []
        for entry in shown(board):
            if measure.axis == "log" and entry.intervals["epochs_equivalent"].mean == 0:
                continue  # doing nothing takes no time, and a log axis has no zero
            curve = _curve(board, entry, measure)
            style = looks[entry.method]
            x = list(curve)
            y = np.array([scale * curve[size].mean for size in x])
            half = np.array([scale * (curve[size].half_width or 0) for size in x])
            axes.plot(
                x, y, marker=style.marker, ms=3.5, lw=0.8 if entry.is_control else 1.3,
                ls="--" if entry.is_control else "-", color=style.colour, zorder=3,
            )  # fmt: skip
            if not entry.is_control:
                low, high = np.maximum(y - half, 0), np.minimum(y + half, scale * measure.most)
                axes.fill_between(x, low, high, color=style.colour, alpha=0.13, lw=0)
            ends.append(Label(display_name(entry), x[-1], float(y[-1]), style.colour))
        if measure.axis == "log":
            _make_log(axes)
        else:
            axes.set_ylim(bottom=0 if measure.axis == "from zero" else None)
            ends += _floor_band(axes, board, measure)
        at_line_ends(axes, ends)
    return figure


def _make_log(axes: Axes) -> None:
    """Makes the axis upwards logarithmic, from just below the lowest point."""
    low = min(float(np.min(line.get_ydata())) for line in axes.lines) if axes.lines else 1
    axes.set_yscale("log")
    axes.set_ylim(bottom=low / 1.5)  # a band may reach below zero
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _bands_are_over_classes(board: TaskBoard) -> bool:
    """True if each size has enough cases for an interval over them."""
    return board.task.num_cases // len(board.task.forget.sizes) >= CASES_FOR_INTERVAL


def _band_note(board: TaskBoard) -> str:
    """The footnote on bands and lines."""
    over = "over the classes" if _bands_are_over_classes(board) else "over the samples of D_f"
    return (
        f"Bands: 95%, {over}. Grey band: floor, from the best to the worst gold. Dashed: controls."
    )


def _curve(board: TaskBoard, entry: Entry, measure: Measure) -> dict[int, MeanInterval]:
    """Size to the mean over the cases of that size, in the unit of the record.

    The interval is over cases if each size has enough of them, otherwise over samples.
    """
    curve = {}
    for size, values in board.by_size(entry.case_means[measure.name]).items():
        curve[size] = mean_interval(values)
        if not _bands_are_over_classes(board):
            runs = [
                c for c in entry.records if c.values and board.task.case(c.record.case).size == size
            ]
            sampled = [c.stderrs[measure.samples] for c in runs if measure.samples in c.stderrs]
            variances = [stderr**2 for stderr in sampled]
            # Seeds share their samples, so they do not make the interval narrower; cases do.
            deviation = math.sqrt(np.mean(variances) / len(values)) if variances else 0.0
            curve[size] = MeanInterval(curve[size].mean, NORMAL * deviation)
    return curve


def _floor_band(axes: Axes, board: TaskBoard, measure: Measure) -> list[Label]:
    """Draws the band from the best to the worst gold, and the line of the constant guess.

    Args:
        axes: the axes to draw on.
        board: the board of the task.
        measure: what the axes show.

    Returns:
        The names of band and line, at their right ends.
    """
    labels = []
    scale, name = measure.scale, measure.name
    bounds = {
        kind: board.by_size({case: kind(metrics[name]) for case, metrics in board.floor.items()})
        for kind in (min, max)
    }
    x = list(bounds[min])
    if x:
        low, high = ([scale * float(np.mean(bounds[kind][s])) for s in x] for kind in (min, max))
        axes.fill_between(x, low, high, facecolor=FLOOR, edgecolor=GREY, lw=0.4, zorder=0)
        labels.append(Label("floor", x[-1], (low[-1] + high[-1]) / 2, GREY))
    if name == "label_accuracy":
        easy = board.all_easy_rates
        guess = board.by_size({case: max(rate, 1 - rate) for case, rate in easy.items()})
        x = list(guess)
        y = [scale * float(np.mean(guess[size])) for size in x]
        axes.plot(x, y, color="black", lw=0.8, ls=":")
        labels.append(Label("constant guess", x[-1], y[-1], "black"))
    return labels
