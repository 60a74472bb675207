"""An excerpt of the page for another text, such as a README: every task in short."""

from collections.abc import Sequence
from pathlib import Path

from mubench._util.errors import UserError
from mubench._util.messages import counted
from mubench.board.plots.style import PLOTS_FOLDER, planned
from mubench.board.ranking import TaskBoard

from .entries_table import EXCERPT_COLUMNS, entries_table, shortlist

BEGIN_EXCERPT, END_EXCERPT = "<!-- board -->\n", "<!-- end of board -->\n"
MOST_IN_EXCERPT = 6
"""Most entries, and most controls, that an excerpt shows of a task."""


def excerpt(text: str, boards: Sequence[TaskBoard], page: str) -> str:
    """A text in which the part between two marks shows every task in short: table and first plot.

    The table has some of the page's columns. A task with several sizes of D_f has the plot alone,
    because the plot says more than means over the sizes.

    Args:
        text: a text with the lines `<!-- board -->` and `<!-- end of board -->`.
        boards: the board of each task.
        page: the path of the whole page, as seen from the text's file.

    Raises:
        UserError: the text has no such lines.
    """
    before, begins, rest = text.partition(BEGIN_EXCERPT)
    _, ends, after = rest.partition(END_EXCERPT)
    if not (begins and ends):
        raise UserError(
            f"--excerpt: the file has no lines {BEGIN_EXCERPT.strip()} and {END_EXCERPT.strip()}"
        )
    parts = []
    for board in boards:
        plot = f"{PLOTS_FOLDER}/{planned(board)[0].stem(board)}.png"
        parts.append(f"[{board.task.id}]({page}), {counted(board.task.num_cases, 'case')}:\n")
        if len(board.task.forget.sizes) <= 1:
            parts.append(entries_table(board, EXCERPT_COLUMNS, most=MOST_IN_EXCERPT))
            if more := len(board.entries) - len(shortlist(board, MOST_IN_EXCERPT)):
                parts.append(f"The page has {more} more, controls among them.\n")
        parts.append(f"![{board.task.id}]({Path(page).parent.as_posix()}/{plot})\n")
    return "".join([before, begins, "\n".join(["", *parts, ""]), ends, after])
