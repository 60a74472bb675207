"""The plot of a task with several sizes: measures over the size of the forget set."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mubench._util.statistics import LEAST_CASES, Interval, mean_interval
from mubench.board.ranking import Entry, Standing, TaskBoard, by_size, case_size

from .figure import FLOOR, GREY, blank
from .label_placement import Label, at_line_ends
from .style import Style, name, shown

NORMAL = 1.96


def scaling(board: TaskBoard, title: str, looks: Mapping[str, Style]) -> Figure:
    """Four measures over |D_f|."""
    sizes = sorted(board.task.forget.sizes)
    figure = blank(5.6, board, title, _band_note(board))
    figure.subplots_adjust(left=0.065, right=0.83, top=0.9, bottom=0.11, wspace=0.75, hspace=0.32)
    panels = (
        ("delta", "δ, points", 1, 100),
        ("label_accuracy", "label accuracy, %", 100, 100),
        ("activation_distance", "activation distance", 1, math.sqrt(2)),
        ("seconds", "seconds", 1, math.inf),
    )
    for position, (measure, heading, scale, limit) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, position)
        axes.set_title(heading)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        if position > 2:
            axes.set_xlabel("|D_f|, samples")
        ends = []
        for entry in shown(board):
            if measure == "seconds" and entry.intervals["epochs_equivalent"].mean == 0:
                continue  # doing nothing takes no time, and a log axis has no place for none
            curve = _curve(board, entry, measure)
            style = looks[entry.method]
            x = list(curve)
            y = np.array([scale * curve[size].mean for size in x])
            half = np.array([scale * (curve[size].half_width or 0) for size in x])
            is_control = entry.standing is Standing.CONTROL
            axes.plot(
                x, y, marker=style.marker, ms=3.5, lw=0.8 if is_control else 1.3,
                ls="--" if is_control else "-", color=style.colour, zorder=3,
            )  # fmt: skip
            if not is_control:
                low, high = np.maximum(y - half, 0), np.minimum(y + half, limit)
                axes.fill_between(x, low, high, color=style.colour, alpha=0.13, lw=0)
            ends.append(Label(name(entry), x[-1], float(y[-1]), style.colour))
        if measure == "seconds":
            _log_seconds(axes)
        else:
            axes.set_ylim(bottom=0 if measure != "label_accuracy" else None)
            ends += _floor_band(axes, board, measure, scale)
        at_line_ends(axes, ends)
    return figure


def _log_seconds(axes: Axes) -> None:
    low = min(float(np.min(line.get_ydata())) for line in axes.lines) if axes.lines else 1
    axes.set_yscale("log")
    axes.set_ylim(bottom=low / 1.5)  # a band may reach below zero
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _bands_are_over_classes(board: TaskBoard) -> bool:
    return board.task.num_cases // len(board.task.forget.sizes) >= LEAST_CASES


def _band_note(board: TaskBoard) -> str:
    over = "over the classes" if _bands_are_over_classes(board) else "over the samples of D_f"
    return (
        f"Bands: 95%, {over}. Grey band: floor, from the best to the worst gold. Dashed: controls."
    )


def _curve(board: TaskBoard, entry: Entry, measure: str) -> dict[int, Interval]:
    """Size to the mean over its cases."""
    sampled = "delta_signed" if measure == "delta" else measure
    curve = {}
    for size, values in by_size(entry.case_means[measure]).items():
        curve[size] = mean_interval(values)
        if not _bands_are_over_classes(board):
            runs = [c for c in entry.records if c.values and case_size(c.record.case) == size]
            variances = [c.stderrs[sampled] ** 2 for c in runs if sampled in c.stderrs]
            # Seeds share their samples, so they do not make the interval narrower; cases do.
            deviation = math.sqrt(np.mean(variances) / len(values)) if variances else 0.0
            curve[size] = Interval(curve[size].mean, NORMAL * deviation)
    return curve


def _floor_band(axes: Axes, board: TaskBoard, measure: str, scale: float) -> list[Label]:
    """From the best to the worst gold, mean over the cases of a size; and the constant guess."""
    labels = []
    bounds = {
        kind: by_size({case: kind(metrics[measure]) for case, metrics in board.floor.items()})
        for kind in (min, max)
    }
    x = list(bounds[min])
    if x:
        low, high = ([scale * float(np.mean(bounds[kind][s])) for s in x] for kind in (min, max))
        axes.fill_between(x, low, high, facecolor=FLOOR, edgecolor=GREY, lw=0.4, zorder=0)
        labels.append(Label("floor", x[-1], (low[-1] + high[-1]) / 2, GREY))
    if measure == "label_accuracy":
        easy = board.all_easy_rates
        guess = by_size({case: max(rate, 1 - rate) for case, rate in easy.items()})
        x = list(guess)
        y = [scale * float(np.mean(guess[size])) for size in x]
        axes.plot(x, y, color="black", lw=0.8, ls=":")
        labels.append(Label("constant guess", x[-1], y[-1], "black"))
    return labels
