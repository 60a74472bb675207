"""What all figures share: size, type, what is not a method, and how they become files."""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench.board.ranking import TaskBoard

from .style import MOST_ENTRIES, shown

WIDTH = 7.2  # inches: the text width of a printed page
DPI = 200
FLOOR = "#dddddd"
GREY = "#666666"
SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.hashsalt": "mubench",  # the same SVG for the same records
}


def blank(height: float, board: TaskBoard, title: str, footnote: str) -> Figure:
    """An empty figure, of so many inches, whose texts can be measured."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{board.task.id}: {title}", x=0.01, ha="left", fontsize=10)
    measured = [entry for entry in board.entries if entry.intervals]
    if more := len(measured) - len(shown(board)):
        footnote += f" The first {MOST_ENTRIES} entries; {more} more are on the page."
    if any(entry.is_provisional for entry in shown(board)):
        footnote += " *: cases or seeds are missing."
    figure.text(0.01, 0.06 / height, footnote, fontsize=6.5, color=GREY, va="bottom")
    return figure


def settings() -> Any:
    """The context in which figures are made and written."""
    return mpl.rc_context(SETTINGS)


def files(figure: Figure) -> dict[str, bytes]:
    """Suffix to content, without a date."""
    contents = {}
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
        contents[suffix] = buffer.getvalue()
    return contents
