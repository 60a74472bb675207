"""A report: the figures that a publication printed beside those of the records, cell by cell.

A TOML file describes the page: its text, its tables, and the claims that it weighs. The figures of
the publication lie in a CSV file beside it. The code knows neither the publication nor a method.

A table has rows of published figures and of entries, and a column per cell, such as a class. Text
may quote a row's mean by `{table | row}`, one cell by `{table | row at cell}`, and the mean paired
difference of two rows by `{table | row - row}`.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict

from mubench._util.errors import UserError
from mubench._util.statistics import MeanInterval, mean_interval
from mubench._util.tables import markdown
from mubench._util.toml import read_model, read_text
from mubench.board.ranking import Entry, TaskBoard
from mubench.record.check import Checked

FLOOR = "floor"
"""Stands for the golds against each other where an entry is named."""
QUOTE = re.compile(r"\{([^{}|]+)\|([^{}]+)\}")

NOTE = """\
*paper*: as the publication printed it. *here*: from the records. Means are over the cells of a row,
± is their 95% interval (Student's t). Published means are taken again from the published cells.
"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """A line of a table that the records fill."""

    label: str
    entry: str = ""
    """The label of an entry, or `floor`. Empty: the same as the row's label."""
    measure: str = ""
    """The name of a metric, or of a flag (1 for a run that has it). Empty: the table's."""


class Table(_Part):
    """A table: published rows first, then the rows of the records."""

    name: str
    """What quotes and claims call the table, and the name of its figures in the CSV file."""
    title: str
    text: str = ""
    """What stands below the title."""
    task: str = ""
    """The id of the task of all rows. Empty: there are published rows alone."""
    cells: Mapping[str, str] = {}
    """Heading of a column to the case of the task. Empty: the published cells, in their order."""
    measure: str = ""
    scale: float = 1
    """Factor from the value in a record to the printed number. Published figures are as printed."""
    digits: int = 1
    mean: str = "mean"
    """The heading of the column of means."""
    rows: tuple[Row, ...] = ()


class Claim(_Part):
    """That one row of a table lies below another."""

    text: str
    table: str
    published: tuple[str, str] | None = None
    """The published row that is claimed to be lower, and the one claimed to be higher. None: the
    publication has no such figures."""
    measured: tuple[tuple[str, str], ...] = ()
    """The same pair among the rows of the records, in one or several forms."""


class Section(_Part):
    """Text before the claims and the tables."""

    title: str
    text: str


class Plan(_Part):
    """What the TOML file says."""

    title: str
    introduction: str
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...] = ()
    sections: tuple[Section, ...] = ()


Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Table to row to cell to the published figure, as printed."""


@dataclass(frozen=True)
class Report:
    """A plan with its published figures."""

    plan: Plan
    figures: Figures


def read_report(path: Path) -> Report:
    """Reads a plan, and the CSV file of the same name beside it.

    Args:
        path: the TOML file.

    Raises:
        UserError: a file is not there, or not of this form.
    """
    plan = read_model(Plan, path, str(path))
    beside = path.with_suffix(".csv")
    figures: dict[str, dict[str, dict[str, float]]] = {}
    reader = csv.reader(io.StringIO(read_text(beside, str(beside))))
    if next(reader, None) != ["table", "row", "cell", "value"]:
        raise UserError(f"{beside}: the first line is not table,row,cell,value")
    for line in reader:
        try:
            table, row, cell, value = line
            number = float(value)
        except ValueError:
            raise UserError(f"{beside}, line {reader.line_num}: not a figure: {line}") from None
        figures.setdefault(table, {}).setdefault(row, {})[cell] = number
    return Report(plan, figures)


class _Line(NamedTuple):
    """A row with its numbers."""

    label: str
    source: str
    """What the page says of where the numbers are from."""
    values: Mapping[str, float]
    """Cell to the printed number."""


@dataclass(frozen=True)
class _Filled:
    """A table with its numbers."""

    table: Table
    cells: Sequence[str]
    published: Mapping[str, _Line]
    measured: Mapping[str, _Line]

    def line(self, label: str) -> _Line:
        """The row of this label, published or of the records."""
        return self.measured.get(label) or self.published.get(label) or self.missing(label)

    def missing(self, label: str) -> NoReturn:
        """Refuses a row that is not there."""
        known = ", ".join([*self.measured, *self.published])
        raise UserError(f"table {self.table.name}: there is no row {label!r}, only {known}")

    def text(self, interval: MeanInterval, *, is_signed: bool = False) -> str:
        """A mean as it is printed, with its interval if there is one."""
        digits = self.table.digits
        mean = f"{interval.mean + 0.0:{'+' if is_signed else ''}.{digits}f}"
        if interval.half_width is None:
            return mean
        return f"{mean} ± {interval.half_width:.{digits}f}"


def render_report(report: Report, boards: Sequence[TaskBoard], source: str) -> str:
    """The page as Markdown; the same files and records give the same page, byte for byte.

    Args:
        report: the plan and its figures.
        boards: the board of each task.
        source: the path of the plan, as seen from the page.

    Raises:
        UserError: the plan names a task, an entry, a metric or a row that is not there.
    """
    plan = report.plan
    filled = {table.name: _fill(table, report.figures, boards) for table in plan.tables}

    def quoted(text: str) -> str:
        return QUOTE.sub(lambda match: _quote(filled, *match.groups()), text).strip() + "\n"

    parts = [
        f"# {plan.title}\n",
        quoted(plan.introduction),
        f"`mubench report` renders this page from [{Path(source).name}]({source}), the published\n"
        "figures beside that file, and the records; edits to the page are lost.\n",
    ]
    for section in plan.sections:
        parts += [f"## {section.title}\n", quoted(section.text)]
    if plan.claims:
        parts += ["## What holds\n", _claims(plan.claims, filled)]
    parts += ["## The figures, cell by cell\n", NOTE]
    for table in plan.tables:
        parts += [f"### {table.title}\n", quoted(table.text) if table.text else ""]
        parts += [_table(filled[table.name])]
    return "\n".join(part for part in parts if part)


def _fill(table: Table, figures: Figures, boards: Sequence[TaskBoard]) -> _Filled:
    published = {
        label: _Line(label, "paper", values)
        for label, values in figures.get(table.name, {}).items()
    }
    cells = list(table.cells)
    if not cells:
        cells = list(dict.fromkeys(cell for one in published.values() for cell in one.values))
    measured = {}
    if table.task:
        board = next((one for one in boards if one.task.id == table.task), None)
        if board is None:
            raise UserError(f"table {table.name}: there are no records of {table.task}")
        for row in table.rows:
            by_case = _by_case(board, table, row)
            values = {
                cell: by_case[case] * table.scale
                for cell, case in table.cells.items()
                if case in by_case
            }
            if row.label in published or row.label in measured:
                raise UserError(f"table {table.name}: two rows are called {row.label!r}")
            measured[row.label] = _Line(row.label, "here", values)
    return _Filled(table, cells, published, measured)


def _by_case(board: TaskBoard, table: Table, row: Row) -> dict[str, float]:
    """Case to the mean over seeds of a measure, in the measure's own unit."""
    label, measure = row.entry or row.label, row.measure or table.measure
    if label == FLOOR:
        return board.floor_means(measure)
    entry: Entry | None = next((one for one in board.entries if one.label == label), None)
    if entry is None:
        raise UserError(f"table {table.name}: there are no records of {label} on {table.task}")
    by_case: dict[str, list[float]] = {}
    for one in entry.records:
        if one.values:
            by_case.setdefault(one.record.case, []).append(_value(one, measure))
    return {case: fmean(values) for case, values in by_case.items()}


def _value(one: Checked, measure: str) -> float:
    """A number of a record: recomputed if it can be, else as the record states it."""
    record = one.record
    if measure in one.values:
        return one.values[measure]
    if measure in record.metrics:
        return record.metrics[measure].value
    if measure.startswith("flag "):
        return float(measure.removeprefix("flag ") in record.flags)
    raise UserError(f"{one.file} has no metric {measure!r}")


def _table(filled: _Filled) -> str:
    digits = filled.table.digits
    rows = []
    for line in [*filled.published.values(), *filled.measured.values()]:
        known = [line.values[cell] for cell in filled.cells if cell in line.values]
        numbers = [
            f"{line.values[cell] + 0.0:.{digits}f}" if cell in line.values else ""
            for cell in filled.cells
        ]
        mean = filled.text(mean_interval(known)) if known else ""
        rows.append([line.label, line.source, mean, *numbers])
    headers = ["row", "from", filled.table.mean, *filled.cells]
    return markdown(rows, headers, "ll" + "r" * (len(headers) - 2)) + "\n"


def _difference(one: _Line, other: _Line) -> MeanInterval:
    """The mean over the cells that both have, of one less the other."""
    both = [cell for cell in one.values if cell in other.values]
    if not both:
        raise UserError(f"rows {one.label!r} and {other.label!r} share no cell")
    return mean_interval([one.values[cell] - other.values[cell] for cell in both])


def _quote(filled: Mapping[str, _Filled], name: str, rows: str) -> str:
    table = filled.get(name.strip())
    if table is None:
        raise UserError(f"text quotes a table {name.strip()!r}; there are {', '.join(filled)}")
    label, minus, other = rows.strip().partition(" - ")
    if minus:
        return table.text(_difference(table.line(label), table.line(other)), is_signed=True)
    label, at, cell = rows.strip().partition(" at ")
    values = table.line(label).values
    if not values or (at and cell not in values):
        raise UserError(f"table {name.strip()}: row {label!r} has no cell {cell}".rstrip())
    return table.text(
        MeanInterval(values[cell], None) if at else mean_interval(list(values.values()))
    )


def _claims(claims: Sequence[Claim], filled: Mapping[str, _Filled]) -> str:
    rows = []
    for claim in claims:
        table = filled.get(claim.table)
        if table is None:
            raise UserError(f"a claim names a table {claim.table!r}; there are {', '.join(filled)}")
        pairs = [(table.published, claim.published, "paper")] if claim.published else []
        pairs += [(table.measured, pair, "here") for pair in claim.measured]
        for number, (lines, (low, high), source) in enumerate(pairs):
            one = lines.get(low) or table.missing(low)
            other = lines.get(high) or table.missing(high)
            interval = _difference(one, other)
            rows.append([
                "" if number else claim.text, source, f"{low} - {high}",
                table.text(interval, is_signed=True), _verdict(interval),
            ])  # fmt: skip
    headers = ["claim", "from", "difference", "mean over cells", "verdict"]
    return (
        "A claim *holds* if the whole 95% interval of the paired difference lies below zero, is\n"
        "*refuted* if all of it lies above, and is *not shown* otherwise. No correction is made\n"
        "for the number of claims, so more holds here than by the verdicts of the leaderboard.\n\n"
        + markdown(rows, headers, "lllrl")
        + "\n"
    )


def _verdict(interval: MeanInterval) -> str:
    if interval.half_width is None:
        return "too few cells"
    if interval.mean + interval.half_width < 0:
        return "holds"
    return "refuted" if interval.mean - interval.half_width > 0 else "not shown"
