"""The plots of a task: cost against alignment, case by case, over the size of the forget set."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from .board import Entry, Standing, TaskBoard
from .intervals import Interval, mean_interval
from .labels import SIZE, Label, at_line_ends, beside_points
from .plots import MOST_ENTRIES, Plot, Style, name, shown

WIDTH = 7.2  # inches: the text width of a printed page
DPI = 200
FLOOR = "#dddddd"
GREY = "#666666"
NORMAL = 1.96
SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.hashsalt": "mubench",  # the same SVG for the same records
}

Looks = Mapping[str, Style]


def render(plot: Plot, board: TaskBoard, looks: Looks) -> dict[str, bytes]:
    """A plot as files: suffix to content."""
    make = {"cost": _cost, "cases": _cases, "scaling": _scaling}[plot.kind]
    files = {}
    with mpl.rc_context(SETTINGS):
        figure = make(board, looks)
        figure.suptitle(f"{board.task.id}: {plot.title}", x=0.01, ha="left", fontsize=10)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
            files[suffix] = buffer.getvalue()
    return files


def _figure(height: float, board: TaskBoard, footnote: str) -> Figure:
    """An empty figure whose texts can be measured."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    measured = [entry for entry in board.entries if entry.intervals]
    if more := len(measured) - len(shown(board)):
        footnote += f" The first {MOST_ENTRIES} entries; {more} more are on the page."
    figure.text(0.01, 0.06 / height, footnote, fontsize=6.5, color=GREY, va="bottom")
    return figure


# Cost against alignment


def _cost(board: TaskBoard, looks: Looks) -> Figure:
    footnote = (
        "Bars: 95% over cases. Line: Pareto front of what passes the sample test. "
        "Hollow: fails it. Grey: controls."
    )
    figure = _figure(3.6, board, footnote)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.84, bottom=0.2, wspace=0.2)
    panels = (("delta", "δ, points"), ("activation_distance", "activation distance"))
    for position, (measure, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, position)
        axes.set_title(title)
        axes.set_xlabel("epochs-equivalent, share of retraining")
        _scatter(axes, board, looks, measure)
    return figure


def _scatter(axes: Axes, board: TaskBoard, looks: Looks, measure: str) -> None:
    points = []
    for entry in shown(board):
        style, value = looks[entry.method], entry.intervals[measure]
        share = (
            entry.intervals["epochs_equivalent"].mean
            / entry.intervals["retrain_epochs_equivalent"].mean
        )
        points.append((share, value.mean, entry))
        axes.errorbar(
            share, value.mean, yerr=value.half_width or 0, color=style.colour,
            fmt=style.marker, markersize=5.5, elinewidth=0.8, zorder=3,
            markerfacecolor=style.colour if entry.passes_sample_test else "white",
        )  # fmt: skip
    front: list[tuple[float, float]] = []
    for share, level, entry in sorted(points, key=lambda point: point[:2]):
        is_candidate = entry.passes_sample_test and entry.standing is Standing.RANKED
        if is_candidate and (not front or level < front[-1][1]):
            front.append((share, level))
    axes.step([x for x, _ in front], [y for _, y in front], where="post", color="black", lw=0.8)
    axes.set_xscale("symlog", linthresh=0.01, linscale=0.3)  # a method may cost nothing at all
    ticks = [0, 0.01, 0.1, 1]
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_xlim(-0.005, 3)
    axes.set_ylim(bottom=0)
    taken = [bar.get_window_extent() for bar in axes.collections]
    taken += _segments(axes, front)
    if floor := board.floor_intervals.get(measure):
        half_width = floor.half_width or 0
        low, high = max(floor.mean - half_width, 0), floor.mean + half_width
        axes.axhspan(low, high, color=FLOOR, lw=0, zorder=0)
        word = axes.text(3, high, "floor ", ha="right", va="bottom", fontsize=SIZE, color=GREY)
        taken.append(word.get_window_extent())
    labels = [Label(name(e), x, y, looks[e.method].colour) for x, y, e in points]
    beside_points(axes, labels, taken)


def _segments(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[Bbox]:
    """The boxes, in pixels, of a line drawn as steps."""
    boxes = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        for ends in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            (x0, y0), (x1, y1) = axes.transData.transform(ends)
            boxes.append(Bbox.from_extents(x0 - 2, min(y0, y1) - 2, x1 + 2, max(y0, y1) + 2))
    return boxes


# Case by case


def _cases(board: TaskBoard, looks: Looks) -> Figure:
    entries = shown(board)
    floor = {
        measure: {case: float(np.mean(metrics[measure])) for case, metrics in board.floor.items()}
        for measure in board.floor_intervals
    }
    rows = [(name(e), looks[e.method], e.case_means, e.intervals) for e in entries]
    if floor:
        rows.append(("floor", Style(GREY, "o"), floor, board.floor_intervals))
    height = 1.05 + 0.24 * len(rows)
    figure = _figure(height, board, "Dots: cases, mean over seeds. Bars: mean and 95% interval.")
    figure.subplots_adjust(
        left=0.2, right=0.985, top=1 - 0.55 / height, bottom=0.45 / height, wspace=0.06
    )
    panels = (("delta", "δ, points", 1), ("label_gain", "label gain, points (0: all easy)", 100))
    for position, (measure, title, scale) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, position)
        axes.set_title(title)
        for row, (_, style, case_means, intervals) in enumerate(rows):
            values = [scale * value for _, value in sorted(case_means[measure].items())]
            _strip(axes, row, values, style, intervals[measure], scale)
        axes.axvline(0, color="black", lw=0.6, zorder=0)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [r[0] for r in rows] if position == 1 else [])
        axes.tick_params(axis="y", length=0)
        for tick, (_, style, _, _) in zip(axes.get_yticklabels(), rows, strict=False):
            tick.set_color(style.colour)
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


# Over the size of the forget set


def _scaling(board: TaskBoard, looks: Looks) -> Figure:
    """Four measures over |D_f|."""
    sizes = sorted(board.task.forget.sizes)
    figure = _figure(5.6, board, _band_note(board))
    figure.subplots_adjust(left=0.065, right=0.84, top=0.9, bottom=0.11, wspace=0.75, hspace=0.32)
    panels = (
        ("delta", "δ, points", 1),
        ("label_accuracy", "label accuracy, %", 100),
        ("activation_distance", "activation distance", 1),
        ("seconds", "seconds", 1),
    )
    for position, (measure, title, scale) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, position)
        axes.set_title(title)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        if position > 2:
            axes.set_xlabel("|D_f|, samples")
        ends = []
        for entry in shown(board):
            if measure == "seconds" and entry.intervals["epochs_equivalent"].mean == 0:
                continue  # doing nothing takes no time, and a log axis has no place for none
            curve = _curve(entry, measure)
            style = looks[entry.method]
            x = sorted(curve)
            y = np.array([scale * curve[size].mean for size in x])
            half = np.array([scale * (curve[size].half_width or 0) for size in x])
            is_control = entry.standing is Standing.CONTROL
            axes.plot(
                x, y, marker=style.marker, ms=3.5, lw=0.8 if is_control else 1.3,
                ls="--" if is_control else "-", color=style.colour, zorder=3,
            )  # fmt: skip
            if not is_control:
                low = np.maximum(y - half, 0)
                axes.fill_between(x, low, y + half, color=style.colour, alpha=0.13, lw=0)
            ends.append(Label(name(entry), x[-1], float(y[-1]), style.colour))
        if measure == "seconds":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0 if measure != "label_accuracy" else None)
            ends += _floor_band(axes, board, measure, scale)
        at_line_ends(axes, ends)
    return figure


def _size(case: str) -> int:
    """A case of a task with sizes ends in its own."""
    return int(case.rpartition("-")[2])


def _by_size(values: Mapping[str, float]) -> dict[int, list[float]]:
    out: dict[int, list[float]] = {}
    for case, value in values.items():
        out.setdefault(_size(case), []).append(value)
    return out


def _band_note(board: TaskBoard) -> str:
    several = board.task.num_cases > len(board.task.forget.sizes)
    over = "over the classes" if several else "over the samples of D_f"
    return (
        f"Bands: 95%, {over}. Grey band: floor, from the best to the worst gold. Dashed: controls."
    )


def _curve(entry: Entry, measure: str) -> dict[int, Interval]:
    """Size to mean over its cases; of a single case, the interval is over samples."""
    curve = {}
    for size, values in _by_size(entry.case_means[measure]).items():
        curve[size] = mean_interval(values)
        if len(values) == 1:
            sampled = "delta_signed" if measure == "delta" else measure
            stderrs = [
                c.stderrs[sampled]
                for c in entry.records
                if sampled in c.stderrs and _size(c.record.case) == size
            ]
            if stderrs:
                curve[size] = Interval(values[0], NORMAL * float(np.mean(stderrs)))
    return curve


def _floor_band(axes: Axes, board: TaskBoard, measure: str, scale: float) -> list[Label]:
    """From the best to the worst gold, mean over the cases of a size; and what all-easy gets."""
    labels = []
    bounds = {
        kind: _by_size({case: kind(metrics[measure]) for case, metrics in board.floor.items()})
        for kind in (min, max)
    }
    x = sorted(bounds[min])
    if x:
        low, high = ([scale * float(np.mean(bounds[kind][s])) for s in x] for kind in (min, max))
        axes.fill_between(x, low, high, color=FLOOR, lw=0, zorder=0)
        labels.append(Label("floor", x[-1], (low[-1] + high[-1]) / 2, GREY))
    if measure == "label_accuracy":
        easy = _by_size(
            {case: v for entry in board.entries if entry.case_means
             for case, v in entry.case_means["all_easy_rate"].items()}
        )  # fmt: skip
        x = sorted(easy)
        y = [scale * float(np.mean(easy[size])) for size in x]
        axes.plot(x, y, color="black", lw=0.8, ls=":")
        labels.append(Label("all easy", x[-1], y[-1], "black"))
    return labels
