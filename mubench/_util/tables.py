"""Tables of text: as Markdown for pages, and in plain letters for a terminal."""

from collections.abc import Sequence

from tabulate import tabulate

SIDES = {"l": "left", "r": "right"}


def markdown(rows: Sequence[Sequence[object]], headers: Sequence[str], align: str = "") -> str:
    """A Markdown table, without a line break at its end.

    Args:
        rows: the cells; a bar or a line break in a cell is escaped, because it would end the cell,
            and so is what begins a tag of HTML.
        headers: the headings of the columns.
        align: "l" or "r" per column. Empty: all columns to the left.
    """
    cells = [
        [_one_line(cell).replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows
    ]
    return _table(cells, headers, align, "pipe")


def plain(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    align: str = "",
    widths: Sequence[int | None] | None = None,
) -> str:
    """A table for a terminal, without a line break at its end.

    Args:
        rows: the cells; a line break in a cell becomes a space.
        headers: the headings of the columns.
        align: "l" or "r" per column. Empty: all columns to the left.
        widths: the most letters per line of each column, longer cells being wrapped; None: any.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    return _table(cells, headers, align, "simple", widths)


def _one_line(cell: object) -> str:
    return str(cell).replace("\n", " ")


def _table(
    cells: Sequence[Sequence[str]],
    headers: Sequence[str],
    align: str,
    style: str,
    widths: Sequence[int | None] | None = None,
) -> str:
    letters = align or "l" * len(headers)
    assert len(letters) == len(headers) and all(len(row) == len(headers) for row in cells)
    # Because tabulate cannot wrap the cells of a table without rows, it gets widths only with rows.
    return tabulate(
        cells,
        headers,
        tablefmt=style,
        disable_numparse=True,
        colalign=[SIDES[letter] for letter in letters] if cells else None,
        maxcolwidths=widths if cells else None,
    )
