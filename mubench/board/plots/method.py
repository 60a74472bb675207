"""The plot of one method on one task: each of its entries, case by case."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mubench._util.arrays import Floats
from mubench.board.ranking import Entry, TaskBoard
from mubench.record.measures import MEASURES

from .figure import FLOOR, GREY, empty
from .style import COLOURS, MARKERS, display_name

HEIGHT = 2.9
"""Inches."""
WIDE = 0.7
"""Share of a case's width that its entries take."""


def method(board: TaskBoard, name: str) -> Figure:
    """Margin distance between floor and nothing, and signed delta, of each case.

    Args:
        board: the board of a task on which the method has a measured entry.
        name: of the method.
    """
    entries = board.measured_entries(name)
    footnote = (
        "A point per case, mean over seeds. Bars on the left: from the floor, which is golds "
        "against each other, to nothing, which is the original.\n"
        "Right: above zero, the method forgot too little. Bars: as far as golds lie apart."
    )
    figure = empty(HEIGHT, board, f"{name}, case by case", footnote, entries)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.76, bottom=0.31, wspace=0.16)
    cases = _cases(board, entries)
    for position, panel in enumerate((_margins, _deltas), 1):
        axes = figure.add_subplot(1, 2, position)
        panel(axes, board, entries, cases)
        axes.set_xlim(-0.5, len(cases) - 0.5)
        axes.set_xticks(range(len(cases)), cases, rotation=30, ha="right", fontsize=6.5)
        axes.tick_params(axis="x", length=0)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.0, 0.94), frameon=False,
        fontsize=7, ncols=len(labels), columnspacing=1.2, handletextpad=0.2,
    )  # fmt: skip
    return figure


def _cases(board: TaskBoard, entries: Sequence[Entry]) -> list[str]:
    """The cases of any of the entries, small forget sets first."""
    cases = {case for entry in entries for case in entry.case_means["delta"]}
    return sorted(cases, key=lambda case: (board.task.case(case).size or 0, case))


def _margins(axes: Axes, board: TaskBoard, entries: Sequence[Entry], cases: Sequence[str]) -> None:
    measure = "margin_distance"
    axes.set_title(MEASURES[measure].axis_title)
    floor_C = _values(board.floor_means(measure), cases)
    known = {k: v for e in entries for k, v in e.case_means[f"nothing_{measure}"].items()}
    nothing_C = _values(known, cases)
    x_C = np.arange(len(cases))
    axes.vlines(x_C, floor_C, nothing_C, color=FLOOR, lw=7, zorder=0)
    axes.plot(x_C, nothing_C, "_", color="black", ms=11, label="nothing")
    axes.plot(x_C, floor_C, "_", color=GREY, ms=11, mew=2, label="floor")
    _points(axes, measure, entries, cases)
    axes.set_ylim(bottom=0)


def _deltas(axes: Axes, board: TaskBoard, entries: Sequence[Entry], cases: Sequence[str]) -> None:
    measure = "delta_signed"
    axes.set_title(MEASURES[measure].axis_title)
    floor_C = _values(board.floor_means("delta"), cases)
    axes.vlines(np.arange(len(cases)), -floor_C, floor_C, color=FLOOR, lw=7, zorder=0)
    axes.axhline(0, color="black", lw=0.6, zorder=0)
    _points(axes, measure, entries, cases)


def _points(axes: Axes, measure: str, entries: Sequence[Entry], cases: Sequence[str]) -> None:
    """Draws the cases of each entry, side by side."""
    scale, step = MEASURES[measure].scale, WIDE / len(entries)
    for number, entry in enumerate(entries):
        shift = step * (number - (len(entries) - 1) / 2)
        axes.plot(
            np.arange(len(cases)) + shift, scale * _values(entry.case_means[measure], cases),
            MARKERS[number % len(MARKERS)], color=COLOURS[number % len(COLOURS)], ms=4,
            label=display_name(entry), clip_on=False,
        )  # fmt: skip


def _values(by_case: Mapping[str, float], cases: Sequence[str]) -> Floats:
    """The values of the cases, NaN where there is none."""
    return np.array([by_case.get(case, np.nan) for case in cases])
