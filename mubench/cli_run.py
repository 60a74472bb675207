"""`mubench run`: one method on one or more cases, and how the result is printed."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_shared import (
    CASE,
    DEVICE,
    OUT,
    SETTINGS,
    TASK,
    build_missing,
    examples,
    load,
    usage_errors,
)
from .store import Store, say

if TYPE_CHECKING:
    from .golds import LoadedTask
    from .records import Metric, Record
    from .runner import Measured
    from .task import Case


@click.command(
    epilog=examples(
        "mubench run --method tmu --task cifar10-subset",
        "mubench run --method ./mine.py:Mine --task digits-subset --set lr=0.05 --seed 0 --seed 1",
        "mubench run --method finetune --task cifar10-subset --cases all --format csv",
    )
)
@click.option(
    "--method", "reference", required=True, help="A name, ./file.py:Class or module:Class."
)
@TASK
@CASE
@click.option("--cases", "which_cases", type=click.Choice(["first", "all"]), default="first",
              show_default=True, help="Where no --case is given.")  # fmt: skip
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0,),
              show_default=True, help="Of the method; repeatable.")  # fmt: skip
@SETTINGS
@click.option("--format", "output", type=click.Choice(["table", "json", "csv"]), default="table",
              show_default=True, help="json: a record a line.")  # fmt: skip
@DEVICE
@OUT
@click.option("--again", is_flag=True, help="Measure even what this code has measured before.")
@click.option("--isolate/--no-isolate", default=False, show_default=True,
              help="Run the method in a process of its own, with limits on time and memory and "
              "no way to golds or test data.")  # fmt: skip
@click.option("--save-weights", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep the unlearned models there, as safetensors.")  # fmt: skip
def run(
    reference: str,
    task_name: str,
    case_ids: tuple[str, ...],
    which_cases: str,
    seeds: tuple[int, ...],
    settings: tuple[str, ...],
    output: str,
    device: str,
    out: Path,
    again: bool,
    isolate: bool,
    save_weights: Path | None,
) -> None:
    """Measures a method on one or more cases of a task.

    Trains the original and the golds that are not cached yet, after saying how long that should
    take.
    """
    with usage_errors():
        from .isolate import Described, Isolation
        from .methods import MethodClass, configure, load_method, parse_settings

        parameters = parse_settings(settings)
        isolation: Isolation | None = None
        method: MethodClass | Described
        if isolate:
            isolation = click.get_current_context().with_resource(Isolation([out]))
            (method,) = isolation.describe(reference, [parameters])
            instance = None
        else:
            method = load_method(reference)
            instance = configure(method, parameters)
    store = Store()
    loaded = load(task_name, device)
    with usage_errors():
        if case_ids:
            cases: Sequence[Case] = [loaded.case(case_id) for case_id in case_ids]
        else:
            cases = loaded.cases if which_cases == "all" else loaded.cases[:1]
    build_missing(loaded, store, cases)

    from .runner import Cell, measure, write_note

    done: list[Measured] = []
    cells = [Cell(case, method, instance, seed) for case in cases for seed in seeds]
    for number, cell in enumerate(cells, 1):
        say(f"[{number}/{len(cells)}] {cell.label}")
        weights = None
        if save_weights:
            name = f"{cell.method.name}-{cell.case.id}-seed{cell.seed}.safetensors"
            weights = save_weights / loaded.task.name / name
        measured = measure(
            loaded, store, cell, out, again=again, save_weights=weights, isolation=isolation
        )
        done.append(measured)
        if measured.reused:
            when = measured.record.started_at
            say(f"measured before by the same code, at {when}; --again measures anew")
        note = write_note(measured.record, measured.path, measured.trace)
        if measured.record.status != "ok":
            say(f"{cell.label}: {measured.record.status}: {measured.record.error} ({note})")
    _print_records(loaded, done, output)
    say(f"records: {out / loaded.task.name / method.name}")
    if any(measured.record.status != "ok" for measured in done):
        sys.exit(1)


CSV_FIELDS = ("task", "case", "method", "seed", "status", "error", "flags")
COST_FIELDS = ("seconds", "retrain_seconds", "epochs_equivalent", "retrain_epochs_equivalent")


def _print_records(loaded: "LoadedTask", done: "Sequence[Measured]", output: str) -> None:
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
