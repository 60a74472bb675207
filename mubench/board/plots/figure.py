"""What all figures share: size, type, the greys of floor and controls, and the way to files."""

import io
import textwrap
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench.board.ranking import TaskBoard

from .style import MOST_ENTRIES, shown

WIDTH = 7.2
"""Inches: the text width of a printed page."""
DPI = 200
FLOOR = "#dddddd"
"""Colour of the floor's band."""
GREY = "#666666"
"""Colour of what is no method: the floor's line and name, footnotes."""
FOOTNOTE_LETTERS = 150
"""Most letters of a line of the footnote, which then fits into the width."""
RC_PARAMS: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.hashsalt": "mubench",  # the same SVG for the same records
}


def blank(height: float, board: TaskBoard, title: str, footnote: str) -> Figure:
    """An empty figure with title and footnote, whose texts can be measured.

    Args:
        height: the height in inches.
        board: the board of the task.
        title: what the figure shows.
        footnote: how to read the figure; a word on what is missing is added.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{board.task.id}: {title}", x=0.01, ha="left", fontsize=10)
    measured = [entry for entry in board.entries if entry.intervals]
    if more := len(measured) - len(shown(board)):
        footnote += f" The first {MOST_ENTRIES} entries; {more} more are on the page."
    if any(entry.is_provisional for entry in shown(board)):
        footnote += " *: cases or seeds are missing."
    lines = [textwrap.fill(line, FOOTNOTE_LETTERS) for line in footnote.splitlines()]
    figure.text(0.01, 0.06 / height, "\n".join(lines), fontsize=6.5, color=GREY, va="bottom")
    return figure


def rc_context() -> Any:
    """The context of matplotlib in which figures are made and written."""
    return mpl.rc_context(RC_PARAMS)


def files(figure: Figure) -> dict[str, bytes]:
    """Suffix (`png`, `svg`) to the bytes of the file, which hold no date."""
    contents = {}
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
        contents[suffix] = buffer.getvalue()
    return contents
