"""How `mubench run` prints records: a table, CSV or JSON."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mubench.gold.loaded import LoadedTask
    from mubench.record.schema import Metric, Record
    from mubench.run.cell import Measured


CSV_FIELDS = ("task", "case", "method", "seed", "status", "error", "flags")
COST_FIELDS = ("seconds", "retrain_seconds", "epochs_equivalent", "retrain_epochs_equivalent")


def print_records(loaded: "LoadedTask", done: "Sequence[Measured]", output: str) -> None:
    """Records on stdout, in one of the three forms."""
    records = [measured.record for measured in done]
    if output == "json":
        for record in records:
            click.echo(record.model_dump_json())
    elif output == "csv":
        names = sorted({name for record in records for name in record.metrics})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*CSV_FIELDS, *COST_FIELDS, *names])
        for record in records:
            head = [record.task, record.case, record.method, record.seed, record.status]
            cost = [getattr(record.cost, field) if record.cost else "" for field in COST_FIELDS]
            values = [record.metrics[n].value if n in record.metrics else "" for n in names]
            writer.writerow([*head, record.error or "", " ".join(record.flags), *cost, *values])
        click.echo(text.getvalue(), nl=False)
    else:
        click.echo(_table(loaded, done))


def _table(loaded: "LoadedTask", done: "Sequence[Measured]") -> str:
    from tabulate import tabulate

    rows: list[list[Any]] = []
    shown_floor: set[str] = set()
    for measured in done:
        record = measured.record
        name = f"{record.method} (seed {record.seed})"
        if record.cost and record.metrics:
            cost = record.cost
            rows.append([
                record.case, name, *_metric_cells(record.metrics),
                f"{cost.seconds:.1f}",
                f"{cost.seconds / cost.retrain_seconds:.2f}",
                f"{cost.epochs_equivalent:.2f} of {cost.retrain_epochs_equivalent:.1f}",
                " ".join(record.flags),
            ])  # fmt: skip
        else:
            rows.append([record.case, name, *[""] * 8, f"{record.status}: {record.error}"])
        if record.case not in shown_floor and record.floor:
            shown_floor.add(record.case)
            rows.append([record.case, "floor: gold against golds",
                         *_metric_cells(record.floor), "", "1.00", "", ""])  # fmt: skip
    headers = [
        "case", "method", "delta", "signed", "test acc", "act. dist", "label acc", "seconds",
        "x retrain", "epochs-eq", "note",
    ]  # fmt: skip
    aligned = ("left", "left", *["right"] * 8, "left")
    lines = [tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=aligned)]
    if scored := [measured.record for measured in done if measured.record.metrics]:
        lines += ["", _legend(scored)]
    lines.append(_still_needed(loaded, done))
    return "\n".join(lines)


def _metric_cells(metrics: "dict[str, Metric]") -> list[str]:
    return [
        f"{metrics['delta'].value:.1f}",
        f"{metrics['delta_signed'].value:+.1f}",
        f"{100 * metrics['test_accuracy'].value:.1f}",
        f"{metrics['activation_distance'].value:.3f}",
        f"{metrics['label_accuracy'].value:.3f}",
    ]


def _legend(records: "Sequence[Record]") -> str:
    metrics, first = records[0].metrics, records[0]
    easy = sorted({record.metrics["all_easy_rate"].value for record in records})
    all_easy = f"{easy[0]:.3f}" + f" to {easy[-1]:.3f}, by case" * (len(easy) > 1)
    if easy[0] < 0.5:
        all_easy += "; where below .5, calling every one hard gets more, the rest of 1"
    return (
        f"delta: points between the accuracies on D_f (n = {metrics['delta'].count}) of the method"
        f" and of each of {len(first.golds)} golds; test acc in %, n ="
        f" {metrics['test_accuracy'].count}.\n"
        f"label acc: share of D_f where method and gold are right together or wrong together;"
        f" calling every sample\neasy gets {all_easy}."
        f" x retrain: share of the retraining time on {first.threads} thread(s) of"
        f" {first.device}."
    )


def _still_needed(loaded: "LoadedTask", done: "Sequence[Measured]") -> str:
    cases = {measured.record.case for measured in done}
    seeds = {measured.record.seed for measured in done}
    more_cases = len(loaded.cases) - len(cases)
    more_seeds = max(loaded.task.measure.seeds - len(seeds), 0)
    if not more_cases and not more_seeds:
        return f"All {len(loaded.cases)} cases: enough for a leaderboard entry."
    needs = [f"{more_cases} more cases (--cases all)"] * bool(more_cases)
    needs += [f"{more_seeds} more seeds"] * bool(more_seeds)
    have = f"{len(cases)} of {len(loaded.cases)} cases"
    return f"{have}: a leaderboard entry needs {' and '.join(needs)}."
