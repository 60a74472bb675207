"""The table of a task's entries: which columns it has, and what stands in each cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mubench._util.statistics import MeanInterval
from mubench._util.tables import markdown
from mubench.board.hypotheses import Ratio
from mubench.board.ledger import Ledger
from mubench.board.ranking import Entry, Standing, TaskBoard
from mubench.record.again import Mark
from mubench.record.measures import MEASURES, Place, shown_in
from mubench.task.spec import Task

from .again import measured_again


@dataclass(frozen=True)
class MethodPage:
    """The page of a method, as the page of all tasks links it."""

    address: str
    ledger: Ledger


@dataclass(frozen=True)
class Column:
    """A column of the table of a task."""

    name: str
    """The key of the column's cell in a row: for a number, the name of the measure."""
    heading: str
    align: str = "l"
    """"l" or "r"."""


CLAIMED = f"{MEASURES['delta'].heading} claimed"
_MEASURES = tuple(Column(measure.name, measure.heading, "r") for measure in shown_in(Place.PAGE))
COLUMNS = (
    Column("rank", "rank"),
    Column("method", "method"),
    Column("verdict", "verdict"),
    _MEASURES[0],
    Column("claimed", CLAIMED, "r"),
    Column("gap_closed", "gap closed", "r"),
    Column("group", "group"),
    *_MEASURES[1:],
    Column("access", "access"),
    Column("cases", "cases x seeds"),
    Column("again", "measured again"),
    Column("note", "note"),
)
EXCERPT_NAMES = {"rank", "method", "verdict", "gap_closed", "note"} | {
    measure.name for measure in shown_in(Place.EXCERPT)
}
EXCERPT_COLUMNS = tuple(column for column in COLUMNS if column.name in EXCERPT_NAMES)
OFF_DESIGN = "off-design"


def entries_table(
    board: TaskBoard,
    columns: Sequence[Column],
    marks: Mapping[str, Mark] = {},
    most: int | None = None,
    pages: Mapping[str, MethodPage] = {},
) -> str:
    """The table of a task in Markdown: entries, then the floor, then the controls.

    Args:
        board: the task.
        columns: of the table.
        marks: path of a record to its mark.
        most: rows of entries, and of controls. None: all.
        pages: name of a method to its own page, which is linked.
    """
    listed = shortlist(board, most)
    controls = [entry for entry in listed if entry.is_control]
    rows = [
        _row(entry, marks, board.task, pages.get(entry.method))
        for entry in listed
        if not entry.is_control
    ]
    if board.floor_intervals:
        floor = {"method": "*floor*", "gap_closed": "1", "cases": str(len(board.floor))}
        rows.append(floor | _cells(board.floor_intervals) | {"note": "golds against each other"})
    rows += [_row(entry, marks, board.task, pages.get(entry.method)) for entry in controls]
    table = markdown(
        [[row.get(column.name, "") for column in columns] for row in rows],
        [column.heading for column in columns],
        "".join(column.align for column in columns),
    )
    return table + "\n"


def shortlist(board: TaskBoard, most: int | None) -> list[Entry]:
    """The first entries of a board and its first controls; all of them if `most` is None."""
    by_kind = [[one for one in board.entries if one.is_control is kind] for kind in (False, True)]
    return [one for own in by_kind for one in own[:most]]


def _row(
    entry: Entry, marks: Mapping[str, Mark], task: Task, page: MethodPage | None
) -> dict[str, str]:
    """Name of column to cell, of an entry.

    Args:
        entry: what the row shows.
        marks: path of a record to its mark.
        task: that it is of.
        page: the method's own, which is linked.
    """
    low, high = entry.num_seeds
    seeds = str(low) if low == high else f"{low}-{high}"
    notes = ["control"] * entry.is_control + list(entry.notes)
    if entry.standing is Standing.PROVISIONAL:
        notes.insert(0, "provisional")
    if page and page.ledger.is_off_design(task.forget.kind):
        notes.append(OFF_DESIGN)
    judgement, label = entry.judgement, label_of(entry)
    return _cells(entry.intervals) | {
        "rank": str(entry.rank) if entry.rank else "",
        "method": f"[{label}]({page.address})" if page else label,
        "verdict": str(judgement.verdict) if judgement else "",
        "claimed": _claimed(page, task.name) if page else "",
        "gap_closed": _ratio(judgement.gap_closed) if judgement else "",
        "group": entry.group,
        "access": entry.access,
        "cases": f"{entry.num_cases} x {seeds}",
        "again": measured_again(entry, marks),
        "note": "; ".join(notes),
    }


def shows_claims(board: TaskBoard, pages: Mapping[str, MethodPage]) -> bool:
    """True if the table of a task has a claim to show."""
    own = [pages[entry.method] for entry in board.entries if entry.method in pages]
    return any(_claimed(page, board.task.name) for page in own)


def _claimed(page: MethodPage, task: str) -> str:
    """What papers claim to be δ in the setting that is nearest to a task."""
    delta = MEASURES["delta"]
    return ", ".join(
        delta.text(claim.value)
        for claim in page.ledger.claims
        if (claim.measure, claim.task) == (delta.name, task)
    )


def label_of(entry: Entry) -> str:
    """The label of an entry, in italics if the entry is a control."""
    return f"*{entry.label}*" if entry.is_control else entry.label


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "no gap"
    if ratio.low is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _cells(intervals: Mapping[str, MeanInterval]) -> dict[str, str]:
    """Name of measure to cell, of the measures that have a value."""
    return {
        name: MEASURES[name].interval_text(interval)
        for name, interval in intervals.items()
        if name in MEASURES
    }
