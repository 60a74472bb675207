"""What all figures share: size, type, the greys of floor and controls, and the way to files."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mubench.board.ranking import Entry, TaskBoard

from .style import MOST_ENTRIES, shown

WIDTH = 7.2
"""Inches: the text width of a printed page."""
DPI = 200
PALETTE = 128
"""Most colours of a PNG. A plot has some twenty, and their shades along edges."""
FLOOR = "#dddddd"
"""Colour of the floor's band."""
GREY = "#666666"
"""Colour of what is no method: the floor's line and name, footnotes."""
FOOTNOTE_LETTERS = 150
"""Most letters of a line of the footnote, which then fits into the width."""
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
"""Suffix of each format to what keeps the file the same for the same records."""
RC_PARAMS: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.hashsalt": "mubench",  # the same SVG for the same records
}


def blank(height: float, board: TaskBoard, title: str, footnote: str) -> Figure:
    """An empty figure of a whole board; else as `empty`.

    Args:
        height: the height in inches.
        board: the board of the task.
        title: what the figure shows.
        footnote: how to read the figure; a word on what is missing is added.
    """
    measured = [entry for entry in board.entries if entry.intervals]
    drawn = shown(board)
    if more := len(measured) - len(drawn):
        footnote += f" The first {MOST_ENTRIES} entries; the page has {more} more."
    return empty(height, board, title, footnote, drawn)


def empty(
    height: float, board: TaskBoard, title: str, footnote: str, entries: Sequence[Entry]
) -> Figure:
    """An empty figure with title and footnote, whose texts can be measured.

    Args:
        height: the height in inches.
        board: the board of the task.
        title: what the figure shows.
        footnote: how to read the figure; a word on incomplete entries is added.
        entries: what the figure will show.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{board.task.id}: {title}", x=0.01, ha="left", fontsize=10)
    if any(entry.is_provisional for entry in entries):
        footnote += " *: cases or seeds are missing."
    lines = [textwrap.fill(line, FOOTNOTE_LETTERS) for line in footnote.splitlines()]
    figure.text(0.01, 0.06 / height, "\n".join(lines), fontsize=6.5, color=GREY, va="bottom")
    return figure


def rc_context() -> Any:
    """The context of matplotlib in which figures are made and written."""
    return mpl.rc_context(RC_PARAMS)


def files(figure: Figure, suffixes: Sequence[str] = tuple(METADATA)) -> dict[str, bytes]:
    """Suffix to the bytes of the file, which hold no date.

    Args:
        figure: what is written.
        suffixes: keys of `METADATA`.
    """
    contents = {}
    for suffix in suffixes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=METADATA[suffix])
        contents[suffix] = _in_few_colours(buffer) if suffix == "png" else buffer.getvalue()
    return contents


def _in_few_colours(png: io.BytesIO) -> bytes:
    """A PNG with a palette of its own: a third of the size, and nothing less to be seen."""
    out = io.BytesIO()
    Image.open(png).convert("RGB").quantize(PALETTE).save(out, "png", optimize=True)
    return out.getvalue()
