"""The page of a method: its ledger, its parameters, and its results on every task.

As the page of all tasks, it follows from records and ledgers and from nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from mubench._util.messages import counted
from mubench._util.tables import markdown
from mubench.board.ledger import SCENARIOS, Claim, Ledger, sheet
from mubench.board.plots.style import PLOTS_FOLDER, method_stem
from mubench.board.ranking import Entry, TaskBoard
from mubench.record.flags import Flag
from mubench.record.measures import MEASURES

from .entries_table import COLUMNS, entries_table
from .section import bullet

SHOWN = (
    "rank", "method", "verdict", "delta", "gap_closed", "activation_distance", "test_accuracy",
    "epochs_equivalent", "retrain_share", "cases", "note",
)  # fmt: skip
RESULT_COLUMNS = tuple(column for column in COLUMNS if column.name in SHOWN)


@dataclass(frozen=True)
class Described:
    """What the code of a method says of itself."""

    name: str
    text: str
    """Its docstring."""
    access: str
    """What it declares to need, in words."""
    parameters: Sequence[Sequence[str]]
    """Rows of name, type, default and meaning."""


def render_method(
    method: Described, ledger: Ledger, boards: Sequence[TaskBoard], main_page: str
) -> str:
    """The page as Markdown.

    Args:
        method: what its code says.
        ledger: what is known of it.
        boards: the boards of all tasks.
        main_page: the path of the page of all tasks, as seen from this page.
    """
    known = [*sheet(ledger), ("access here", method.access)]
    if ledger.claims:  # They have a table.
        known = [(what, text) for what, text in known if what != "claims"]
    parameters = markdown(method.parameters, ["parameter", "type", "default", "meaning"])
    parts = [
        f"# {method.name}\n\n{method.text}\n".replace("<", "&lt;"),
        "`mubench leaderboard --methods` renders this page from the method's ledger and code, and "
        f"from records.\nThe [leaderboard]({main_page}) says how to read the numbers.\n",
        "".join(bullet(f"**{what}**: {text}".replace("<", "&lt;")) for what, text in known),
        "## Parameters\n",
        f"{parameters}\n" if method.parameters else "It has none.\n",
    ]
    own = [(board, _own(board, method.name)) for board in boards]
    plots = PurePosixPath(main_page).parent / PLOTS_FOLDER
    own = [(board, entries) for board, entries in own if entries]
    parts += [*_claims(ledger.claims, own), "## Results\n"]
    parts += [_results(board, entries, ledger, plots) for board, entries in own]
    return "\n".join(parts if own else [*parts, "No record of it is on the leaderboard.\n"])


def _own(board: TaskBoard, name: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in board.entries if entry.method == name)


def _results(
    board: TaskBoard, entries: tuple[Entry, ...], ledger: Ledger, plots: PurePosixPath
) -> str:
    """A task: the rows of the method beside those of the floor and of doing nothing, and the plot.

    Args:
        board: of the task.
        entries: of the method.
        ledger: of the method.
        plots: the folder of plots, as seen from the page.
    """
    kind = board.task.forget.kind
    nothing = tuple(
        entry
        for entry in board.entries
        if entry.is_control and entry.flags.get(Flag.NO_OP) == len(entry.records)
    )
    lines = [f"### {board.task.id}, {counted(board.task.num_cases, 'case')}\n"]
    if ledger.is_off_design(kind):
        lines.append(
            f"**Off-design**: the task forgets {SCENARIOS[kind]}, and the method is made for "
            f"forgetting {ledger.made_for}.\n"
        )
    lines.append(entries_table(replace(board, entries=entries + nothing), RESULT_COLUMNS))
    if any(entry.intervals for entry in entries):
        name = entries[0].method
        path = plots / f"{method_stem(board, name)}.png"
        lines.append(f"![{name} on {board.task.id}, case by case]({path})\n")
    return "\n".join(lines)


def _claims(
    claims: Sequence[Claim], own: Sequence[tuple[TaskBoard, tuple[Entry, ...]]]
) -> list[str]:
    """What papers claim beside what was measured; empty if no claim is recorded."""
    if not claims:
        return []
    headers = ["number", "claimed", "by", "where", "setting", "measured here"]
    rows = []
    for claim in claims:
        source = f"arXiv:{claim.paper}" if claim.paper else "its authors"
        cells = [claim.metric, f"{claim.value:g}", source, claim.where, claim.setting]
        rows.append([*cells, _measured(claim, own)])
    return [
        "## Claims\n",
        "Where the board has the same number on a near task, it stands beside the claim.\n",
        markdown(rows, headers) + "\n",
    ]


def _measured(claim: Claim, own: Sequence[tuple[TaskBoard, tuple[Entry, ...]]]) -> str:
    """What was measured on the task that a claim names; empty if nothing can be compared."""
    name = claim.measure
    if name is None or claim.task is None:
        return ""
    found = [
        f"{entry.label} {MEASURES[name].interval_text(entry.intervals[name])}"
        for board, entries in own
        for entry in entries
        if board.task.name == claim.task and name in entry.intervals
    ]
    return f"{'; '.join(found)} on {claim.task}" if found else ""
