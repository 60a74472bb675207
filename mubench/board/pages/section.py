"""The section of a task on the page: its table, and what can be said of its entries together."""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from mubench._util.messages import counted
from mubench._util.tables import markdown
from mubench.board.components import crossed
from mubench.board.hypotheses import POWER, SIGNIFICANCE, can_show, least_p
from mubench.board.orders import LEAST_METHODS, Agreement, agreement
from mubench.board.plots.style import PLOTS_FOLDER, planned
from mubench.board.ranking import Entry, TaskBoard
from mubench.board.verdicts import P_VALUES
from mubench.record.again import Mark
from mubench.record.measures import MEASURES, Place, shown_in

from .entries_table import COLUMNS, MethodPage, entries_table, label_of, shows_claims

PRESETS = ("tuned", "paper")
"""Presets whose order of methods the page holds against that of the defaults."""


def task_section(
    board: TaskBoard, marks: Mapping[str, Mark], pages: Mapping[str, MethodPage]
) -> str:
    """The section of a task in Markdown.

    Args:
        board: of the task.
        marks: path of a record to its mark.
        pages: name of a method to its own page, which is linked.
    """
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
    unused = unstated([board]) | (set() if marks else {"again"})
    if not shows_claims(board, pages):
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
        lines += ["Runs that failed:\n", markdown(failures, headers) + "\n"]
    lines += _tests(board)
    lines += ["<details><summary>Parameters and versions</summary>\n"]
    provenance = [_provenance(entry) for entry in board.entries]
    lines += [markdown(provenance, ["method", "from", "with"]) + "\n"]
    lines += ["</details>\n"]
    return "\n".join(line for line in lines if line)


def unstated(boards: Sequence[TaskBoard]) -> set[str]:
    """The measures that no record of some boards states, and that are not recomputed."""
    used = {name for board in boards for entry in board.entries for name in entry.intervals}
    return {name for name, measure in MEASURES.items() if measure.is_stated} - used


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


def _sizes(board: TaskBoard) -> list[str]:
    """Tables of a task with several sizes: one per measure, with a column per size."""
    sizes = sorted(board.task.forget.sizes)
    if len(sizes) <= 1:
        return []
    parts = []
    for measure in shown_in(Place.SIZES):
        measured = [entry for entry in board.entries if entry.case_means]
        measured.sort(key=lambda entry: entry.is_control)
        case_means = [(label_of(entry), entry.case_means[measure.name]) for entry in measured]
        if board.floor:
            before_controls = sum(not entry.is_control for entry in measured)
            case_means.insert(before_controls, ("*floor*", board.floor_means(measure.name)))
        rows = []
        for label, means in case_means:
            values = board.by_size(means)
            cells = [measure.text(fmean(values[n])) if n in values else "" for n in sizes]
            rows.append([label, *cells])
        title = measure.title
        if title.isascii():  # a Greek letter means something else as a capital
            title = title[0].upper() + title[1:]
        heading = f"{title} over |D_f|" + f", {measure.unit}" * bool(measure.unit)
        table = markdown(rows, ["method", *map(str, sizes)], "l" + "r" * len(sizes))
        parts += [f"{heading}:\n", f"{table}\n"]
    return parts


def _tests(board: TaskBoard) -> list[str]:
    """The p values behind the verdicts."""
    judged = [(label_of(entry), entry.judgement) for entry in board.entries if entry.judgement]
    if not judged:
        return []
    rows = [[label, *(f"{getattr(one, p):.3f}" for p in P_VALUES)] for label, one in judged]
    headers = [
        "method", "margin below nothing", "margin above nothing", "act. distance above nothing",
        "label gain below golds'", "other than retraining", "margin equivalent to floor",
    ]  # fmt: skip
    return [
        "<details><summary>p values behind the verdicts, corrected for the number of "
        "entries</summary>\n",
        markdown(rows, headers, "l" + "r" * len(P_VALUES)) + "\n",
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


def bullet(text: str) -> str:
    """A point of a list in Markdown, in lines of at most 100 letters."""
    return textwrap.fill(text, 100, initial_indent="- ", subsequent_indent="  ") + "\n"
