"""The leaderboard page: one table per task, rendered from records and from nothing else.

The same records give the same page, byte for byte, on every machine: no date, no path and no order
of files enters. `mubench.board.ranking` says how entries are averaged, tested and ranked; the page
says it again for its readers.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pandas as pd

from mubench._util.errors import UserError
from mubench._util.messages import counted
from mubench._util.statistics import CASES_FOR_INTERVAL, MeanInterval
from mubench._util.tables import markdown
from mubench.board.plots.style import PLOTS_FOLDER, planned
from mubench.record.again import Mark
from mubench.record.check import Rejected
from mubench.record.flags import Flag
from mubench.record.measures import MEASURES, Place, shown_in
from mubench.task.spec import Task

from .again import explanation, measured_again
from .components import crossed
from .hypotheses import POWER, SIGNIFICANCE, Ratio, can_show, least_p
from .ledger import Ledger
from .orders import LEAST_METHODS, Agreement, agreement
from .ranking import Entry, Standing, TaskBoard
from .verdicts import RELEVANT_SHARE

BEGIN_EXCERPT, END_EXCERPT = "<!-- board -->\n", "<!-- end of board -->\n"


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
P_VALUES = ("p_better", "p_worse", "p_activation_worse", "p_retraining", "p_equivalent")
EXCERPT_COLUMNS = tuple(column for column in COLUMNS if column.name in EXCERPT_NAMES)
OFF_DESIGN = "off-design"
PRESETS = ("tuned", "paper")
"""Presets whose order of methods the page holds against that of the defaults."""
MOST_IN_EXCERPT = 6
"""Most entries, and most controls, that an excerpt shows of a task."""

INTRODUCTION = """\
# Leaderboard

After a model was made to forget D_f: how close is the model to one that never saw D_f, and what did
that cost?

{summary}
`mubench leaderboard` renders this page from the records in `{folder}`. The command
recomputes every accuracy, distance and count from the readouts beside the records. To change this
page, change the records; edits to the page are lost.
"""

READING = f"""\
## How to read the tables

- **± is a 95% interval**: Student's t over the cases, where the value of a case is the mean over
  its seeds. The interval covers how much cases differ. Below {CASES_FOR_INTERVAL} cases, none is
  shown.
{{measures}}\
- **Nothing** is the original that a run started from, scored as if it were a method. **floor** is
  each gold scored against the other golds. Two models that were retrained differ so much.
- **gap closed** is the way from nothing to the floor: (nothing - method) / (nothing - floor) in
  margin distance. At 0, the method is no closer to a gold than doing nothing; at 1, it is as close
  as another gold. Below 0, it is further away. The 95% interval is Fieller's, over the cases.
- **verdict**: *better than nothing* if an exact sign-flip test over the cases shows that the margin
  distance is below that of nothing by more than {RELEVANT_SHARE:.0%} of the case's gap to the
  floor, and does not show that the activation distance is above. *Equivalent to retraining* if, in
  addition, two one-sided t tests show that the mean margin distance is within half the gap of the
  floor. *Worse than nothing* if the margin distance is shown to be above by more than as much. *Not
  shown* otherwise. Each test is corrected for the number of entries, by Benjamini and Hochberg's
  method: of all claims that are made, few are false, and bad entries that join take nothing from
  good ones.
- **A worked example**: the distances of nothing less those of the method, and less what has to be
  exceeded, are +0.5, +0.3, +0.4, +0.2 and +0.1 in five cases. Doing nothing would give each sign
  with equal chance. Of 32 patterns of signs only this one has so large a mean, so p is 1/32 = 0.03.
- **rank**: the place among the entries that are better than nothing and keep the model, by gap
  closed. An entry keeps the model if the whole interval of its test accuracy lies less than a point
  below the golds'. All other entries stand below, whatever their δ.
- **group**: entries that share a letter cannot be told apart by the paired sign-flip test, Holm's
  method correcting for the number of pairs.
- **Order of settings**: methods are ranked by gap closed at their defaults, and once more at a
  preset, both over the cases of both. Kendall's τ is the share of pairs that keep their order less
  the share that do not. Its p is the share of all orders that agree or disagree so far. A method
  whose preset is its defaults has one entry and is not counted.
- **Entries without a standing**: controls, and entries that are over budget, failed or provisional.
  An entry is provisional if cases or seeds are missing.
- **Why δ alone is no rank**: δ compares two averages. A method that gets the right number of wrong
  samples has a small δ, whichever samples they are.{{coincidence}}
- **Controls** show what the measures make of doing nothing, retraining, guessing or knowing the
  answer.
- **access**: what the method was given. Touching anything else would have failed.
- **not isolated**: the method ran in the harness's own process, where code that looks for golds can
  find them. It is not noted of methods that come with the harness.
{{again}}{{flags}}{{pages}}"""

CLAIMS_SHOWN = f"""\
- **{CLAIMED}**: what papers print of the method, in settings near to the task. They differ from it
  in the size of D_f or in training. The method's own page, which its name links, says how.
"""
PAGES_LINKED = f"""\
- **{OFF_DESIGN}**: the method is made for other forget sets than the task has. Its own page, which
  its name links, says for which, and what its paper claims.
"""


def render(
    boards: Sequence[TaskBoard],
    rejected: Sequence[Rejected],
    folder: str,
    marks: Mapping[str, Mark] = {},
    pages: Mapping[str, MethodPage] = {},
) -> str:
    """The page as Markdown.

    Args:
        boards: the board of each task.
        rejected: the files that are not believed, which the page names.
        folder: the path of the results folder, as seen from the page.
        marks: path of a record under that folder to its mark, if it was measured again.
        pages: name of a method to its own page, which is linked.
    """
    summary = "".join(f"- {_summary(board)}\n" for board in boards)
    parts = [INTRODUCTION.format(folder=folder, summary=summary)]
    parts += [_task_section(board, marks, pages) for board in boards] or [
        "There are no records yet.\n"
    ]
    if absent := _without_a_row(boards, pages):
        parts += ["## Methods without a row\n\nNo task of this page has records of them.\n"]
        parts += [_table(absent, ["method", "what is known"])]
    if rejected:
        rows = [[f"`{one.file}`", one.reason] for one in rejected]
        parts += ["## Rejected records\n\nNo number on this page comes from these files.\n"]
        parts += [_table(rows, ["file", "why"])]
    return "\n".join([*parts, _reading(boards, marks, pages)])


def _without_a_row(boards: Sequence[TaskBoard], pages: Mapping[str, MethodPage]) -> list[list[str]]:
    """The published methods that no board has an entry of, and what their ledgers say was seen."""
    measured = {entry.method for board in boards for entry in board.entries}
    return [
        [f"[{name}]({page.address})", " ".join(page.ledger.seen) or "not measured yet"]
        for name, page in sorted(pages.items())
        if name not in measured
    ]


def _reading(
    boards: Sequence[TaskBoard], marks: Mapping[str, Mark], pages: Mapping[str, MethodPage]
) -> str:
    """How to read the tables: what is always so, each measure, and the flags in the notes."""
    unused = _unused(boards)
    measures = [
        bullet(measure.explanation)
        for measure in shown_in(Place.PAGE)
        if measure.name not in unused
    ]
    claims = any(_shows_claims(board, pages) for board in boards)
    noted = {flag for board in boards for entry in board.entries for flag in entry.flags}
    flags = [bullet(f"**{_flag_note(flag)}**: {flag.meaning}") for flag in Flag if flag in noted]
    return READING.format(
        measures="".join(measures),
        again=explanation(marks),
        flags="".join(flags),
        pages=CLAIMS_SHOWN * claims + PAGES_LINKED if pages else "",
        coincidence=_coincidence(boards),
    )


def _unused(boards: Sequence[TaskBoard]) -> set[str]:
    """The measures that no record of some boards states, and that are not recomputed."""
    used = {name for board in boards for entry in board.entries for name in entry.intervals}
    return {name for name, measure in MEASURES.items() if measure.is_stated} - used


def _coincidence(boards: Sequence[TaskBoard]) -> str:
    """A sentence on two entries of one board with the same delta and other samples, if any."""
    for board in boards:
        for one, other in combinations(board.entries, 2):
            if not (one.judgement and other.judgement and one.case_means and other.case_means):
                continue
            far = one.judgement.verdict is not other.judgement.verdict
            if far and one.case_means["delta"] == other.case_means["delta"]:
                return (
                    f" On {board.task.id}, `{one.label}` and `{other.label}` have the same δ in\n"
                    f"  every case. By margin distance the one is {one.judgement.verdict}, the "
                    f"other {other.judgement.verdict}."
                )
    return ""


def _summary(board: TaskBoard) -> str:
    """One sentence on what a board found."""
    listed = [entry for entry in board.entries if not entry.is_control]
    named = f"**{board.task.id}** ({counted(board.task.num_cases, 'case')})"
    passing = [entry for entry in listed if entry.rank]
    if not passing:
        few = "" if can_show(board.task.num_cases) else ", as so few cases can show nothing"
        return (
            f"{named}: none of {counted(len(listed), 'entry')} is shown to be closer to "
            f"retraining than doing nothing{few}."
        )
    first, *others = passing
    shown = f"Of {counted(len(listed), 'entry')}, {len(passing)}"
    alike = [f"`{one.label}` ({_at(one)})" for one in others if set(one.group) & set(first.group)]
    told = f" It cannot be told apart from {', '.join(alike)}." if alike else ""
    return (
        f"{named}: `{first.label}` is first ({_at(first)}; doing nothing closes 0, another "
        f"retrained model 1).{told} {shown} {'is' if len(passing) == 1 else 'are'} shown to be "
        "better than doing nothing and to keep the test accuracy."
    )


def _at(entry: Entry) -> str:
    """The gap that an entry with a standing closes, and its δ."""
    assert entry.judgement and entry.judgement.gap_closed
    delta = MEASURES["delta"].text(entry.intervals["delta"].mean)
    return f"{entry.judgement.gap_closed.value:.2f} of the gap closed, δ {delta}"


def bullet(text: str) -> str:
    """A point of a list in Markdown, in lines of at most 100 letters."""
    return textwrap.fill(text, 100, initial_indent="- ", subsequent_indent="  ") + "\n"


def _flag_note(flag: Flag) -> str:
    """The words by which the notes of an entry tell a flag."""
    return str(Standing.OVER_BUDGET if flag is Flag.OVER_BUDGET else flag)


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
            if more := len(board.entries) - len(_shortlist(board, MOST_IN_EXCERPT)):
                parts.append(f"The page has {more} more, controls among them.\n")
        parts.append(f"![{board.task.id}]({Path(page).parent.as_posix()}/{plot})\n")
    return "".join([before, begins, "\n".join(["", *parts, ""]), ends, after])


def frame(boards: Sequence[TaskBoard], marks: Mapping[str, Mark] = {}) -> pd.DataFrame:
    """The same tables for programs: one row per entry, every number unrounded.

    Args:
        boards: the board of each task.
        marks: path of a record under the folder of results to its mark, if it was measured again.

    Returns:
        A column per measure, in the unit of the record: accuracies as fractions, deltas in
        percentage points. `<measure>_interval` is half the width of the interval, in the same unit.
        `isolated` and `measured_again` count runs, of all `runs`; `parameters` are JSON.
    """
    rows: list[dict[str, object]] = []
    for board in boards:
        for entry in board.entries:
            rows.append({
                "task": board.task.id,
                "rank": entry.rank,
                "method": entry.label,
                "standing": str(entry.standing),
                **_judged(entry),
                **_numbers(entry.intervals),
                "access": entry.access,
                "cases": entry.num_cases,
                "seeds": entry.num_seeds[0],
                "runs": len(entry.records),
                "isolated": sum(one.record.isolated for one in entry.records),
                "measured_again": sum(one.file in marks for one in entry.records),
                "devices": "; ".join(sorted({one.record.device for one in entry.records})),
                "parameters": json.dumps(entry.parameters, sort_keys=True),
                "note": "; ".join(entry.notes),
            })  # fmt: skip
        if board.floor_intervals:
            floor = {"task": board.task.id, "method": "floor", "standing": "floor"}
            rows.append(floor | _numbers(board.floor_intervals) | {"cases": len(board.floor)})
    out = pd.DataFrame(rows)
    counts = ("rank", "cases", "seeds", "runs", "isolated", "measured_again")
    return out.astype({name: "Int64" for name in counts if name in out})


def missing_plots(boards: Sequence[TaskBoard], folder: Path) -> list[Path]:
    """The files of plots that the page links and that do not exist.

    Args:
        boards: the board of each task.
        folder: the folder of the page; the plots lie in `plots` below it.
    """
    paths = [
        folder / PLOTS_FOLDER / f"{plot.stem(board)}.{suffix}"
        for board in boards
        for plot in planned(board)
        for suffix in ("png", "svg")
    ]
    return [path for path in paths if not path.is_file()]


def _judged(entry: Entry) -> dict[str, object]:
    """Name to value, of what is shown of an entry; every p is adjusted for the number of entries.

    `gap_closed` is a share of the gap, `gap_closed_low` and `gap_closed_high` its 95% interval.
    """
    judgement = entry.judgement
    gap = judgement.gap_closed if judgement else None
    return {
        "verdict": str(judgement.verdict) if judgement else None,
        "keeps_model": judgement.keeps_model if judgement else None,
        "group": entry.group,
        "gap_closed": gap.value if gap else None,
        "gap_closed_low": gap.low if gap else None,
        "gap_closed_high": gap.high if gap else None,
        **{name: getattr(judgement, name, None) for name in P_VALUES},
    }


def _numbers(intervals: Mapping[str, MeanInterval]) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name in MEASURES:
        interval = intervals.get(name)
        numbers[name] = interval.mean if interval else None
        numbers[f"{name}_interval"] = interval.half_width if interval else None
    return numbers


def _task_section(
    board: TaskBoard, marks: Mapping[str, Mark], pages: Mapping[str, MethodPage]
) -> str:
    task, measure = board.task, board.task.measure
    retrain = f"{measure.budget:.0%} of retraining"
    lines = [
        f"## {task.id}\n",
        f"{' '.join(task.description.split())}\n" if task.description else "",
        f"{counted(task.num_cases, 'case')}, {counted(measure.golds, 'gold')} per case, at least "
        f"{counted(measure.seeds, 'seed')} per method; budget: {retrain}. {_devices(board)}\n",
    ]
    if task.num_cases == len(task.forget.sizes) > 1:
        lines.append("The cases differ in size alone, so ± tells how much sizes differ.\n")
    if not can_show(board.task.num_cases):
        lines.append(
            f"Of {counted(task.num_cases, 'case')} no test can show anything: its p is at least "
            f"{least_p(task.num_cases):.3f}. So no entry has a rank.\n"
        )
    hard = {case: 1 - rate for case, rate in board.all_easy_rates.items() if rate < 0.5}
    if hard:
        named = ", ".join(f"{case} ({rate:.1%})" for case, rate in hard.items())
        lines.append(
            "In these cases, golds are wrong on most of D_f (by the share in brackets), so label "
            f"gain is over calling every sample hard: {named}.\n"
        )
    # Where nothing was measured again, the page says so once.
    unused = _unused([board]) | (set() if marks else {"again"})
    if not _shows_claims(board, pages):
        unused.add("claimed")
    columns = [column for column in COLUMNS if column.name not in unused]
    lines += [
        entries_table(board, columns, marks, pages=pages),
        _least_difference(board),
        _orders(board),
        _components(board),
    ]
    lines += [*_sizes(board), _plots(board)]
    failures = [
        [c.record.method, c.record.case, c.record.seed, c.record.status, c.record.error or ""]
        for entry in board.entries
        for c in entry.failures
    ]
    if failures:
        headers = ["method", "case", "seed", "status", "error"]
        lines += ["Runs that failed:\n", _table(failures, headers)]
    lines += _tests(board)
    lines += ["<details><summary>Parameters and versions</summary>\n"]
    lines += [_table([_provenance(entry) for entry in board.entries], ["method", "from", "with"])]
    lines += ["</details>\n"]
    return "\n".join(line for line in lines if line)


def _least_difference(board: TaskBoard) -> str:
    if board.least_difference is None:
        return ""
    return (
        f"The design could have told two entries apart that differ by {board.least_difference:.2f} "
        f"in gap closed (power {POWER:.0%}).\n"
    )


def _orders(board: TaskBoard) -> str:
    """Whether the order is one of methods or of their settings: a point per preset."""
    lines = [_order(preset, agreement(board, preset)) for preset in PRESETS]
    return "Is this an order of methods, or of their settings?\n\n" + "".join(map(bullet, lines))


def _order(preset: str, found: Agreement) -> str:
    """What the order at a preset says of the order at the defaults."""
    count = len(found.gaps)
    have = f"**{preset}**: {counted(count, 'method') if count else 'no method'} "
    if count < LEAST_METHODS:
        have += f"({', '.join(f'`{name}`' for name in found.gaps)}) " if count else ""
    have += f"{'has' if count < 2 else 'have'} records of both the defaults and `{preset}`."
    if count < LEAST_METHODS:
        return f"{have} An order of fewer than {LEAST_METHODS} says nothing."
    if found.p < SIGNIFICANCE:
        meaning = (
            "The methods keep their order, so it is more than an order of settings."
            if found.tau > 0
            else "The order turns around, so it is an order of settings."
        )
    elif found.could_be_told:
        meaning = "The two orders are not shown to be related. It may be an order of settings."
    else:
        meaning = "Not even equal orders of so few methods would be told from chance."
    return (
        f"{have} {found.kept} of {found.pairs} pairs stand in the same order by gap closed "
        f"(Kendall's τ {found.tau:+.2f}, p {found.p:.3f}). {meaning}"
    )


def _components(board: TaskBoard) -> str:
    found = crossed(board, "margin_distance")
    if found is None:
        return ""
    low, high = found.cases
    cases = counted(low, "case") if low == high else f"{low} to {high} cases"
    shares = [f"{share:.0%}" for share in found.components.shares]
    return (
        f"Where {cases} cross {found.originals} originals, {shares[0]} of the variance of an "
        f"entry's margin distance lies between cases, {shares[1]} between originals and "
        f"{shares[2]} in the rest, which is the method's own seed and what case and original do "
        f"together (analysis of variance by the method of moments; mean over "
        f"{counted(found.entries, 'method')}).\n"
    )


def _devices(board: TaskBoard) -> str:
    counts = Counter(
        f"{c.record.device}, {counted(c.record.threads, 'thread')}"
        for entry in board.entries
        for c in entry.records
    )
    if len(counts) == 1:
        return f"Measured on {next(iter(counts))}."
    named = "; ".join(f"{device} ({count} records)" for device, count in sorted(counts.items()))
    return f"Seconds cannot be compared throughout: measured on {named}."


def _shortlist(board: TaskBoard, most: int | None) -> list[Entry]:
    """The first entries of a board and its first controls; all of them if `most` is None."""
    by_kind = [[one for one in board.entries if one.is_control is kind] for kind in (False, True)]
    return [one for own in by_kind for one in own[:most]]


def entries_table(
    board: TaskBoard,
    columns: Sequence[Column],
    marks: Mapping[str, Mark] = {},
    most: int | None = None,
    pages: Mapping[str, MethodPage] = {},
) -> str:
    """The table of a task: entries, then the floor, then the controls.

    Args:
        board: the task.
        columns: of the table.
        marks: path of a record to its mark.
        most: rows of entries, and of controls. None: all.
        pages: name of a method to its own page, which is linked.
    """
    listed = _shortlist(board, most)
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
    return _table(
        [[row.get(column.name, "") for column in columns] for row in rows],
        [column.heading for column in columns],
        "".join(column.align for column in columns),
    )


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
    judgement, label = entry.judgement, _label(entry)
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


def _shows_claims(board: TaskBoard, pages: Mapping[str, MethodPage]) -> bool:
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


def _label(entry: Entry) -> str:
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


def _sizes(board: TaskBoard) -> list[str]:
    """Tables of a task with several sizes: one per measure, with a column per size."""
    sizes = sorted(board.task.forget.sizes)
    if len(sizes) <= 1:
        return []
    parts = []
    for measure in shown_in(Place.SIZES):
        measured = [entry for entry in board.entries if entry.case_means]
        case_means = [(_label(e), e.case_means[measure.name]) for e in measured if not e.is_control]
        if board.floor:
            case_means.append(("*floor*", board.floor_means(measure.name)))
        case_means += [(_label(e), e.case_means[measure.name]) for e in measured if e.is_control]
        rows = []
        for label, means in case_means:
            values = board.by_size(means)
            cells = [measure.text(fmean(values[n])) if n in values else "" for n in sizes]
            rows.append([label, *cells])
        title = measure.title
        if title.isascii():  # a Greek letter means something else as a capital
            title = title[0].upper() + title[1:]
        heading = f"{title} over |D_f|" + f", {measure.unit}" * bool(measure.unit)
        table = _table(rows, ["method", *map(str, sizes)], "l" + "r" * len(sizes))
        parts += [f"{heading}:\n", table]
    return parts


def _tests(board: TaskBoard) -> list[str]:
    """The p values behind the verdicts."""
    judged = [(_label(entry), entry.judgement) for entry in board.entries if entry.judgement]
    if not judged:
        return []
    rows = [[label, *(f"{getattr(one, p):.3f}" for p in P_VALUES)] for label, one in judged]
    headers = [
        "method", "margin below nothing", "margin above nothing", "act. distance above nothing",
        "other than retraining", "margin equivalent to floor",
    ]  # fmt: skip
    return [
        "<details><summary>p values behind the verdicts, corrected for the number of "
        "entries</summary>\n",
        _table(rows, headers, "l" + "r" * len(P_VALUES)),
        "</details>\n",
    ]


def _provenance(entry: Entry) -> list[str]:
    versions = {
        f"{c.record.distribution} {c.record.distribution_version}"
        if c.record.distribution
        else "a file"
        for c in entry.records
    }
    parameters = json.dumps(entry.parameters, sort_keys=True)
    return [entry.label, ", ".join(sorted(versions)), f"`{parameters}`"]


def _plots(board: TaskBoard) -> str:
    plots = [(plot.title, f"{PLOTS_FOLDER}/{plot.stem(board)}") for plot in planned(board)]
    title, first = plots[0]
    links = [f"[{title}]({stem}.png) ([SVG]({stem}.svg))" for title, stem in plots]
    return f"![{board.task.id}: {title}]({first}.png)\n\nPlots: {', '.join(links)}.\n"


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str], align: str = "") -> str:
    """A Markdown table as a part of the page, which ends with a line break."""
    return markdown(rows, headers, align) + "\n"
