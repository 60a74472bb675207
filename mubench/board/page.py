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
from pathlib import Path
from statistics import fmean

import pandas as pd

from mubench._util.errors import UserError
from mubench._util.statistics import CASES_FOR_INTERVAL, MeanInterval
from mubench._util.tables import markdown
from mubench.board.plots.style import PLOTS_FOLDER, planned
from mubench.record.check import Rejected
from mubench.record.flags import Flag
from mubench.record.measures import MEASURES, Place, shown_in

from .ranking import Entry, Standing, TaskBoard

BEGIN_EXCERPT, END_EXCERPT = "<!-- board -->\n", "<!-- end of board -->\n"


@dataclass(frozen=True)
class Column:
    """A column of the table of a task."""

    name: str
    """The key of the column's cell in a row: for a number, the name of the measure."""
    heading: str
    align: str = "l"
    """"l" or "r"."""


COLUMNS = (
    Column("rank", "rank"),
    Column("method", "method"),
    *(Column(measure.name, measure.heading, "r") for measure in shown_in(Place.PAGE)),
    Column("access", "access"),
    Column("cases", "cases x seeds"),
    Column("note", "note"),
)
EXCERPT_NAMES = {"rank", "method", "note"} | {measure.name for measure in shown_in(Place.EXCERPT)}
EXCERPT_COLUMNS = tuple(column for column in COLUMNS if column.name in EXCERPT_NAMES)

INTRODUCTION = """\
# Leaderboard

After a model was made to forget D_f: how close is the model to one that never saw D_f, and what did
that cost? `mubench leaderboard` renders this page from the records in `{folder}`. The command
recomputes every accuracy, distance and count from the readouts beside the records. To change this
page, change the records; edits to the page are lost.
"""

READING = f"""\
## How to read the tables

- **± is a 95% interval**: Student's t over the cases, where the value of a case is the mean over
  its seeds. The interval covers how much cases differ. Below {CASES_FOR_INTERVAL} cases, none is
  shown. Two methods are compared by the interval of their difference, paired by case, which is
  narrower.
{{measures}}\
- **The sample test**: an entry fails if its label gain lies below zero with the whole interval.
  Such an entry has the right average for the wrong samples. It stands after all entries that pass,
  whatever its δ.
- **rank**: entries that pass the sample test come before those that fail. Within each group, the
  order is by δ. The first entry leads rank 1. The next entries share the rank up to the first whose
  δ can be told apart from the leader's. That entry leads the next rank. Nothing corrects for the
  number of comparisons.
- **Entries without a rank**: controls, and entries that are over budget, failed or provisional. An
  entry is provisional if cases or seeds are missing.
- **floor**: each gold scored against the other golds. An entry inside the floor's interval is as
  close to a gold as retraining is.
- **Controls** show what the measures make of doing nothing, retraining, guessing or knowing the
  answer.
- **access**: what the method was given. Touching anything else would have failed.
- **not isolated**: the method ran in the harness's own process, where code that looks for golds can
  find them.
{{flags}}"""


def render(boards: Sequence[TaskBoard], rejected: Sequence[Rejected], folder: str) -> str:
    """The page as Markdown.

    Args:
        boards: the board of each task.
        rejected: the files that are not believed, which the page names.
        folder: the path of the results folder, as seen from the page.
    """
    parts = [INTRODUCTION.format(folder=folder)]
    parts += [_task_section(board) for board in boards] or ["There are no records yet.\n"]
    if rejected:
        rows = [[f"`{one.file}`", one.reason] for one in rejected]
        parts += ["## Rejected records\n\nNo number on this page comes from these files.\n"]
        parts += [_table(rows, ["file", "why"])]
    return "\n".join([*parts, _reading(boards)])


def _reading(boards: Sequence[TaskBoard]) -> str:
    """How to read the tables: what is always so, each measure, and the flags in the notes."""
    measures = [_bullet(measure.explanation) for measure in shown_in(Place.PAGE)]
    noted = {flag for board in boards for entry in board.entries for flag in entry.flags}
    flags = [_bullet(f"**{_flag_note(flag)}**: {flag.meaning}") for flag in Flag if flag in noted]
    return READING.format(measures="".join(measures), flags="".join(flags))


def _bullet(text: str) -> str:
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
        parts.append(f"[{board.task.id}]({page}), {_count(board.task.num_cases, 'case')}:\n")
        if len(board.task.forget.sizes) == 1:
            parts.append(_entries(board, EXCERPT_COLUMNS))
        parts.append(f"![{board.task.id}]({Path(page).parent.as_posix()}/{plot})\n")
    return "".join([before, begins, "\n".join(["", *parts, ""]), ends, after])


def frame(boards: Sequence[TaskBoard]) -> pd.DataFrame:
    """The same tables for programs: one row per entry, every number unrounded.

    Returns:
        A column per measure, in the unit of the record: accuracies as fractions, deltas in
        percentage points. `<measure>_interval` is half the width of the interval, in the same unit.
    """
    rows = []
    for board in boards:
        for entry in board.entries:
            rows.append({
                "task": board.task.id,
                "rank": entry.rank,
                "method": entry.label,
                "standing": str(entry.standing),
                "passes_sample_test": entry.passes_sample_test,
                **_numbers(entry.intervals),
                "access": entry.access,
                "cases": entry.num_cases,
                "seeds": entry.num_seeds[0],
                "note": "; ".join(entry.notes),
            })  # fmt: skip
        if board.floor_intervals:
            floor = {"task": board.task.id, "method": "floor", "standing": "floor"}
            rows.append(floor | _numbers(board.floor_intervals) | {"cases": len(board.floor)})
    out = pd.DataFrame(rows)
    return out.astype({name: "Int64" for name in ("rank", "cases", "seeds") if name in out})


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


def _numbers(intervals: Mapping[str, MeanInterval]) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for name in MEASURES:
        interval = intervals.get(name)
        numbers[name] = interval.mean if interval else None
        numbers[f"{name}_interval"] = interval.half_width if interval else None
    return numbers


def _task_section(board: TaskBoard) -> str:
    task, measure = board.task, board.task.measure
    retrain = f"{measure.budget:.0%} of retraining"
    lines = [
        f"## {task.id}\n",
        f"{' '.join(task.description.split())}\n" if task.description else "",
        f"{_count(task.num_cases, 'case')}, {_count(measure.golds, 'gold')} per case, at least "
        f"{_count(measure.seeds, 'seed')} per method; budget: {retrain}. {_devices(board)}\n",
    ]
    if task.num_cases == len(task.forget.sizes) > 1:
        lines.append("The cases differ in size alone, so ± tells how much sizes differ.\n")
    hard = {case: 1 - rate for case, rate in board.all_easy_rates.items() if rate < 0.5}
    if hard:
        named = ", ".join(f"{case} ({rate:.1%})" for case, rate in hard.items())
        lines.append(
            "In these cases, golds are wrong on most of D_f (by the share in brackets), so label "
            f"gain is over calling every sample hard: {named}.\n"
        )
    lines += [_entries(board, COLUMNS), *_sizes(board), _plots(board)]
    failures = [
        [c.record.method, c.record.case, c.record.seed, c.record.status, c.record.error or ""]
        for entry in board.entries
        for c in entry.failures
    ]
    if failures:
        headers = ["method", "case", "seed", "status", "error"]
        lines += ["Runs that failed:\n", _table(failures, headers)]
    lines += ["<details><summary>Parameters and versions</summary>\n"]
    lines += [_table([_provenance(entry) for entry in board.entries], ["method", "from", "with"])]
    lines += ["</details>\n"]
    return "\n".join(line for line in lines if line)


def _devices(board: TaskBoard) -> str:
    counts = Counter(
        f"{c.record.device}, {_count(c.record.threads, 'thread')}"
        for entry in board.entries
        for c in entry.records
    )
    if len(counts) == 1:
        return f"Measured on {next(iter(counts))}."
    named = "; ".join(f"{device} ({count} records)" for device, count in sorted(counts.items()))
    return f"Seconds cannot be compared throughout: measured on {named}."


def _entries(board: TaskBoard, columns: Sequence[Column]) -> str:
    """The table of a task: entries, then the floor, then the controls."""
    controls = [entry for entry in board.entries if entry.is_control]
    rows = [_row(entry) for entry in board.entries if not entry.is_control]
    if board.floor_intervals:
        floor = {"method": "*floor*", "cases": str(len(board.floor))}
        rows.append(floor | _cells(board.floor_intervals) | {"note": "golds against each other"})
    rows += [_row(entry) for entry in controls]
    return _table(
        [[row.get(column.name, "") for column in columns] for row in rows],
        [column.heading for column in columns],
        "".join(column.align for column in columns),
    )


def _row(entry: Entry) -> dict[str, str]:
    """Name of column to cell, of an entry."""
    low, high = entry.num_seeds
    seeds = str(low) if low == high else f"{low}-{high}"
    notes = ["control"] * entry.is_control + list(entry.notes)
    if entry.standing is Standing.PROVISIONAL:
        notes.insert(0, "provisional")
    return _cells(entry.intervals) | {
        "rank": str(entry.rank) if entry.rank else "",
        "method": _label(entry),
        "access": entry.access,
        "cases": f"{entry.num_cases} x {seeds}",
        "note": "; ".join(notes),
    }


def _label(entry: Entry) -> str:
    return f"*{entry.label}*" if entry.is_control else entry.label


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
    if len(sizes) == 1:
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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
