"""The leaderboard page: a table for each task, rendered from records and from nothing else.

The same records give the same page, byte for byte, on every machine: no date, no path, no order of
files enters. How entries are averaged, tested and ranked is said in `board` and, for its readers,
on the page.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd
from tabulate import tabulate

from mubench._util.errors import UserError
from mubench._util.statistics import Interval
from mubench.board.plots.style import PLOTS_FOLDER, planned
from mubench.record.check import Rejected

from .ranking import MEASURES, Entry, Standing, TaskBoard, by_size

HEADERS = (
    "rank", "method", "δ", "signed δ", "test acc %", "act. distance", "label acc %",
    "all-easy %", "label gain", "seconds", "of retrain", "epochs-eq.", "access", "cases x seeds",
    "note",
)  # fmt: skip

ALIGN = "ll" + "r" * 10 + "lll"
EXCERPT_HEADERS = (
    "rank", "method", "δ", "test acc %", "act. distance", "label gain", "epochs-eq.", "note"
)  # fmt: skip
BEGIN_EXCERPT, END_EXCERPT = "<!-- board -->\n", "<!-- end of board -->\n"

INTRODUCTION = """\
# Leaderboard

After a model was made to forget D_f: how close is it to one that never saw D_f, and what did that
cost? `mubench leaderboard` renders this page from the records in `{folder}`; it recomputes every
accuracy, distance and count from the readouts beside them. Do not edit it: change the records.
"""

READING = """\
## How to read the tables

- **± is a 95% interval**: Student's t over the cases, each case being the mean over its seeds. It
  covers how much cases differ, and is left out below three cases. Two methods are compared by the
  interval of their difference, paired by case, which is narrower.
- **δ**: points between the accuracies on D_f of the method and of a gold (a model retrained without
  D_f), mean over the golds; lower is better. Signed: above zero, too little was forgotten.
- **Activation distance**: mean L2 distance between the softmax outputs on D_f of the method and of
  a gold, at most 1.414; lower is better.
- **Label accuracy**: share of D_f on which method and gold are right together or wrong together.
  Calling every sample easy gets the **all-easy** rate, calling every one hard the rest of 100;
  **label gain** is by how many points a method is above the better of these constant guesses.
- **The sample test**: an entry whose label gain lies below zero with its whole interval has the
  right average for the wrong samples. It stands after all that pass, whatever its δ.
- **Rank**: by δ among those that pass, then among those that fail. The first entry leads rank 1;
  those that follow share it up to the first whose δ can be told apart from the leader's, which then
  leads the next rank. Nothing corrects for the number of comparisons.
- **floor**: each gold scored against the other golds. An entry inside its interval is as close to a
  gold as retraining is. **Controls** show what the metrics make of doing nothing, retraining,
  guessing or knowing the answer. Neither is ranked, nor are entries that are provisional (cases or
  seeds are missing), over budget or failed.
- **Seconds**: the clock around unlearning alone, as stated by the records; of retrain: their share
  of retraining on the same device. **Epochs-equivalent** compares across machines: (forward samples
  + twice the backward samples) / 3 |D|.
- **Access**: what the method was given; touching anything else would have failed. **Not isolated**:
  it ran in the harness's own process, where code that looks for golds can find them.
"""


def render(boards: Sequence[TaskBoard], rejected: Sequence[Rejected], folder: str) -> str:
    """The page as Markdown.

    Args:
        boards: of the tasks.
        rejected: files that no number comes from.
        folder: the results, as seen from the page.
    """
    parts = [INTRODUCTION.format(folder=folder)]
    parts += [_task_section(board) for board in boards] or ["There are no records yet.\n"]
    if rejected:
        rows = [[f"`{one.file}`", one.reason] for one in rejected]
        parts += ["## Rejected records\n\nNo number on this page comes from these files.\n"]
        parts += [_table(rows, ["file", "why"])]
    return "\n".join([*parts, READING])


def excerpt(text: str, boards: Sequence[TaskBoard], page: str) -> str:
    """A text in which the part between two marks is every task in short: table and first plot.

    The table has the foremost columns; a task over sizes has the plot alone, which says more than
    means over the sizes.

    Args:
        text: with the lines `<!-- board -->` and `<!-- end of board -->`.
        boards: of the tasks.
        page: the whole page, as seen from the text's file.

    Raises:
        UserError: the text has no such lines.
    """
    before, begins, rest = text.partition(BEGIN_EXCERPT)
    _, ends, after = rest.partition(END_EXCERPT)
    if not (begins and ends):
        raise UserError(
            f"--excerpt: the file has no lines {BEGIN_EXCERPT.strip()} and {END_EXCERPT.strip()}"
        )
    columns = [HEADERS.index(name) for name in EXCERPT_HEADERS]
    align = "".join(ALIGN[column] for column in columns)
    parts = []
    for board in boards:
        plot = f"{PLOTS_FOLDER}/{planned(board)[0].stem(board)}.png"
        parts.append(f"[{board.task.id}]({page}), {_count(board.task.num_cases, 'case')}:\n")
        if len(board.task.forget.sizes) == 1:
            rows = [[row[column] for column in columns] for row in _rows(board)]
            parts.append(_table(rows, EXCERPT_HEADERS, align))
        parts.append(f"![{board.task.id}]({Path(page).parent.as_posix()}/{plot})\n")
    return "".join([before, begins, "\n".join(["", *parts, ""]), ends, after])


def frame(boards: Sequence[TaskBoard]) -> pd.DataFrame:
    """The same tables for programs: a row an entry, every number unrounded.

    `<measure>_interval` is half the width of the interval; accuracies are fractions, deltas points.
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
    """The plots that the page beside `folder`/plots links and that are not there."""
    paths = [
        folder / PLOTS_FOLDER / f"{plot.stem(board)}.{suffix}"
        for board in boards
        for plot in planned(board)
        for suffix in ("png", "svg")
    ]
    return [path for path in paths if not path.is_file()]


def _numbers(intervals: Mapping[str, Interval]) -> dict[str, float | None]:
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
        f"{_count(task.num_cases, 'case')}, {_count(measure.golds, 'gold')} a case, at least "
        f"{_count(measure.seeds, 'seed')} of a method; budget: {retrain}. {_devices(board)}\n",
    ]
    if task.num_cases == len(task.forget.sizes) > 1:
        lines.append("The cases differ in size alone, so ± tells how much sizes differ.\n")
    hard = {case: 1 - rate for case, rate in board.all_easy_rates.items() if rate < 0.5}
    if hard:
        named = ", ".join(f"{case} ({rate:.1%})" for case, rate in hard.items())
        lines.append(
            "Where golds are wrong on most of D_f, label gain is over calling every sample hard: "
            f"{named}.\n"
        )
    lines += [_table(_rows(board), HEADERS, ALIGN), *_sizes(board), _plots(board)]
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


def _rows(board: TaskBoard) -> list[list[str]]:
    """A row an entry, then the floor, then the controls."""
    rows = [_row(entry) for entry in board.entries if entry.standing is not Standing.CONTROL]
    if board.floor_intervals:
        cells = ["", "*floor*", *_cells(board.floor_intervals)]
        rows.append([*cells, "", str(len(board.floor)), "golds against each other"])
    return rows + [_row(entry) for entry in board.entries if entry.standing is Standing.CONTROL]


def _row(entry: Entry) -> list[str]:
    is_control = entry.standing is Standing.CONTROL
    rank = str(entry.rank) if entry.rank else ""
    label = f"*{entry.label}*" if is_control else entry.label
    low, high = entry.num_seeds
    seeds = str(low) if low == high else f"{low}-{high}"
    notes = ["control"] * is_control + list(entry.notes)
    if entry.standing is Standing.PROVISIONAL:
        notes.insert(0, "provisional")
    cells = [rank, label, *_cells(entry.intervals), entry.access]
    return [*cells, f"{entry.num_cases} x {seeds}", "; ".join(notes)]


def _sizes(board: TaskBoard) -> list[str]:
    """Of a task with several sizes: the foremost measures size by size, mean over cases."""
    sizes = sorted(board.task.forget.sizes)
    if len(sizes) == 1:
        return []
    parts = []
    for measure, heading, spec, scale in (
        ("delta", "δ over |D_f|, points:", ".1f", 1),
        ("label_gain", "Label gain over |D_f|, points:", "+.1f", 100),
    ):
        named, controls = [], []
        for entry in board.entries:
            if not entry.case_means:
                continue
            if entry.standing is Standing.CONTROL:
                controls.append((f"*{entry.label}*", entry.case_means[measure]))
            else:
                named.append((entry.label, entry.case_means[measure]))
        if board.floor:
            named.append(("*floor*", board.floor_means(measure)))
        rows = []
        for label, case_means in named + controls:
            values = by_size(case_means)
            cells = [f"{scale * fmean(values[n]):{spec}}" if n in values else "" for n in sizes]
            rows.append([label, *cells])
        align = "l" + "r" * len(sizes)
        parts += [f"{heading}\n", _table(rows, ["method", *map(str, sizes)], align)]
    return parts


def _cells(intervals: Mapping[str, Interval]) -> list[str]:
    def cell(name: str, spec: str, scale: float = 1) -> str:
        if name not in intervals:
            return ""
        mean, half_width = intervals[name].mean, intervals[name].half_width
        text = f"{scale * mean + 0.0:{spec}}"
        if half_width is None:
            return text
        return f"{text} ± {scale * half_width:{spec.removeprefix('+')}}"

    def mean(name: str, spec: str, scale: float = 1) -> str:
        return f"{scale * intervals[name].mean:{spec}}" if name in intervals else ""

    return [
        cell("delta", ".1f"), cell("delta_signed", "+.1f"), cell("test_accuracy", ".1f", 100),
        cell("activation_distance", ".3f"), cell("label_accuracy", ".1f", 100),
        mean("all_easy_rate", ".1f", 100), cell("label_gain", "+.1f", 100),
        mean("seconds", ".1f"), cell("retrain_share", ".2f"), mean("epochs_equivalent", ".2f"),
    ]  # fmt: skip


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
    """A Markdown table; a bar or a line break in a cell would end it."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    sides = [{"l": "left", "r": "right"}[side] for side in align or "l" * len(headers)]
    text = tabulate(cells, headers, tablefmt="pipe", disable_numparse=True, colalign=sides)
    return text + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
