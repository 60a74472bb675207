"""How `mubench run` prints records: a table, CSV or JSON."""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mubench.gold.loaded import LoadedTask
    from mubench.record.measures import Measure
    from mubench.record.schema import Record
    from mubench.run.cell import Measurement


CSV_FIELDS = ("task", "case", "method", "seed", "status", "error", "flags")
COST_FIELDS = ("seconds", "retrain_seconds", "epochs_equivalent", "retrain_epochs_equivalent")


def print_records(loaded: "LoadedTask", done: "Sequence[Measurement]", output: str) -> None:
    """Prints records on stdout.

    Args:
        loaded: the task of the records.
        done: the records, in the order of the runs.
        output: `table`, `csv` with one row per record, or `json` with one line per record.
    """
    records = [measured.record for measured in done]
    if output == "json":
        for record in records:
            click.echo(record.model_dump_json())
    elif output == "csv":
        click.echo(csv_text(records), nl=False)
    else:
        click.echo(table_text(records))
        click.echo(_still_needed(loaded, records))


def csv_text(records: "Sequence[Record]") -> str:
    """All metrics of records as CSV, one row per record, every number in the unit of the record."""
    names = sorted({name for record in records for name in record.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CSV_FIELDS, *COST_FIELDS, *names])
    for record in records:
        head = [record.task, record.case, record.method, record.seed, record.status]
        cost = [getattr(record.cost, field) if record.cost else "" for field in COST_FIELDS]
        values = [record.metrics[n].value if n in record.metrics else "" for n in names]
        writer.writerow([*head, record.error or "", " ".join(record.flags), *cost, *values])
    return text.getvalue()


def table_text(records: "Sequence[Record]") -> str:
    """The table of records, and below it what the numbers are of.

    One row per record; after the first record of a case, a row of the case's floor.
    """
    from mubench._util.tables import plain
    from mubench.record.measures import Place, shown_in, stated_values

    measures = shown_in(Place.RUN)
    rows: list[list[str]] = []
    cases_with_floor: set[str] = set()
    for record in records:
        name = f"{record.method} (seed {record.seed})"
        if record.cost and record.metrics:
            values = stated_values(record.metrics, record.cost)
            note = " ".join(record.flags)
        else:
            values, note = {}, f"{record.status}: {record.error}"
        rows.append([record.case, name, *_cells(measures, values), note])
        if record.floor and record.case not in cases_with_floor:
            cases_with_floor.add(record.case)
            values = stated_values(record.floor) | {"retrain_share": 1.0}
            rows.append([record.case, "floor: gold against golds", *_cells(measures, values), ""])
    headers = ["case", "method", *(measure.heading for measure in measures), "note"]
    lines = [plain(rows, headers, "ll" + "r" * len(measures) + "l")]
    if scored := [record for record in records if record.metrics]:
        lines += ["", _legend(scored, measures)]
    return "\n".join(lines)


def _cells(measures: "Sequence[Measure]", values: Mapping[str, float]) -> list[str]:
    """A cell per measure, empty if the measure has no value."""
    return [m.text(values[m.name]) if m.name in values else "" for m in measures]


def _legend(records: "Sequence[Record]", measures: "Sequence[Measure]") -> str:
    """What the numbers are of, and which way is better."""
    from mubench.record.measures import MEASURES, stated_values

    first = records[0]
    metrics = first.metrics

    def span(name: str) -> str:
        """The value of a measure, or the least and the largest over the cases."""
        measure = MEASURES[name]
        values = sorted({stated_values(r.metrics, r.cost)[name] for r in records})
        texts = dict.fromkeys(measure.text(value) for value in (values[0], values[-1]))
        return " to ".join(texts)

    sentences = [
        f"Samples: {metrics['delta'].count} in D_f, {metrics['test_accuracy'].count} in the test "
        f"set; golds: {len(first.golds)}.",
        f"Label accuracy of calling every sample easy: {span('all_easy_rate')}%; of calling every "
        "sample hard: the rest of 100%.",
        f"Retraining costs {span('retrain_epochs_equivalent')} epochs-equivalent; seconds are on "
        f"{first.threads} thread(s) of {first.device}.",
    ]
    for direction in ("lower", "higher"):
        headings = ", ".join(m.heading for m in measures if m.better == direction)
        sentences.append(f"{direction.capitalize()} is better: {headings}")
    return "\n".join(textwrap.fill(sentence, 100) for sentence in sentences)


def _still_needed(loaded: "LoadedTask", records: "Sequence[Record]") -> str:
    """What is still to be measured for an entry of the leaderboard."""
    cases = {record.case for record in records}
    seeds = {record.seed for record in records}
    more_cases = len(loaded.cases) - len(cases)
    more_seeds = max(loaded.task.measure.seeds - len(seeds), 0)
    if not more_cases and not more_seeds:
        return f"All {len(loaded.cases)} cases: enough for a leaderboard entry."
    needs = [f"{more_cases} more cases (--cases all)"] * bool(more_cases)
    needs += [f"{more_seeds} more seeds"] * bool(more_seeds)
    have = f"{len(cases)} of {len(loaded.cases)} cases"
    return f"{have}: a leaderboard entry needs {' and '.join(needs)}."
