"""How `mubench run` prints records: a table, CSV or JSON."""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mubench.board.verdicts import Evidence
    from mubench.gold.loaded import LoadedTask
    from mubench.record.measures import Measure
    from mubench.record.schema import Record
    from mubench.run.cell import Measurement


CSV_FIELDS = ("task", "case", "method", "seed", "status", "error", "flags")
COST_FIELDS = ("seconds", "retrain_seconds", "epochs_equivalent", "retrain_epochs_equivalent")


WIDTH = 80
"""Columns of the narrowest terminal in use, in which the short table fits."""


def print_records(
    loaded: "LoadedTask", done: "Sequence[Measurement]", output: str, wide: bool = False
) -> None:
    """Prints records on stdout.

    Args:
        loaded: the task of the records.
        done: the records, in the order of the runs.
        output: `table`, `csv` with one row per record, or `json` with one line per record.
        wide: True for a table of more measures than fit into 80 columns.
    """
    records = [measured.record for measured in done]
    if output == "json":
        for record in records:
            click.echo(record.model_dump_json())
    elif output == "csv":
        click.echo(csv_text(records), nl=False)
    else:
        click.echo(table_text(records, wide))
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


def table_text(records: "Sequence[Record]", wide: bool = False) -> str:
    """The table of records, then what it shows, then what the numbers are of.

    Per case, one row per record, and then what doing nothing and another gold score there.

    Args:
        records: in the order of the runs.
        wide: True for more measures than fit into 80 columns.
    """
    from mubench._util.tables import plain
    from mubench.record.measures import Place, shown_in, stated_values

    measures = shown_in(Place.RUN_WIDE if wide else Place.RUN)
    rows: list[list[str]] = []
    notes: list[str] = []
    for case in dict.fromkeys(record.case for record in records):
        own = [record for record in records if record.case == case]
        rows.append([f"{case}:", *[""] * (len(measures) + 1)])
        for record in own:
            name = f"{record.method} ({record.seed})" if len(own) > 1 else record.method
            values = stated_values(record.metrics, record.cost) if record.metrics else {}
            rows.append([name, *_cells(measures, values), _gap_closed([record])])
            words = [*record.flags] if record.metrics else [f"{record.status}: {record.error}"]
            notes += [f"{case}, seed {record.seed}: {word}" for word in words]
        originals = {record.original_seed: record.nothing for record in own if record.nothing}
        for seed, metrics in originals.items():
            name = f"nothing ({seed})" if len(originals) > 1 else "nothing"
            values = stated_values(metrics) | {"retrain_share": 0.0}
            rows.append([name, *_cells(measures, values), "0"])
        if floor := next((record.floor for record in own if record.floor), None):
            values = stated_values(floor) | {"retrain_share": 1.0}
            rows.append(["another gold", *_cells(measures, values), "1"])
    headers = ["", *(measure.heading for measure in measures), "gap closed"]
    lines = [plain(rows, headers, "l" + "r" * (len(measures) + 1)), *notes]
    if scored := [record for record in records if record.metrics]:
        lines += ["", _shown(scored), "", _legend(scored, measures)]
    return "\n".join(lines)


def _gap_closed(records: "Sequence[Record]") -> str:
    """The share of the gap from nothing to floor that records close, as text; empty if unknown."""
    from mubench.board.hypotheses import ratio_of_means

    evidence = _evidence(records)
    if evidence is None:
        return ""
    ratio = ratio_of_means(evidence.gained_C, evidence.gap_C)
    return f"{ratio.value:.2f}" if ratio else "no gap"


def _evidence(records: "Sequence[Record]") -> "Evidence | None":
    """What a verdict on records rests on, mean over the seeds of a case; None if scores lack."""
    import numpy as np

    from mubench.board.verdicts import Evidence

    margin, activation, labels = "margin_distance", "activation_distance", "label_gain"
    by_case: dict[str, list[list[float]]] = {}
    for record in records:
        own, nothing, floor = record.metrics, record.nothing, record.floor
        if not all(margin in scores for scores in (own, nothing, floor)):
            return None
        lost = own["gold_test_accuracy"].value - own["test_accuracy"].value
        by_case.setdefault(record.case, []).append([
            own[margin].value, own[activation].value, lost,
            nothing[margin].value, nothing[activation].value, floor[margin].value,
            own["margin_signed"].value,
            own[labels].value, nothing[labels].value, floor[labels].value,
        ])  # fmt: skip
    return Evidence(*np.array([np.mean(rows, axis=0) for rows in by_case.values()]).T)


def _shown(records: "Sequence[Record]") -> str:
    """A sentence on how much of the gap from doing nothing to retraining the records close."""
    from mubench.board.hypotheses import can_show, ratio_of_means
    from mubench.board.verdicts import judge

    method, evidence = records[0].method, _evidence(records)
    if evidence is None:
        return f"{method}: there is nothing to compare with, because the task has one gold."
    count = len(evidence.margin_C)
    cases = records[0].case if count == 1 else f"{count} cases"
    ratio = ratio_of_means(evidence.gained_C, evidence.gap_C)
    if ratio is None:
        text = (
            f"Doing nothing is as close to the golds as another gold on {cases}, which therefore "
            "cannot tell methods apart."
        )
        return textwrap.fill(text, WIDTH)
    interval = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low is not None else ""
    text = (
        f"{method} closes {ratio.value:.2f}{interval} of the gap on {cases}; doing nothing closes "
        "0, another gold 1."
    )
    judged = judge({method: evidence})
    if not judged or not can_show(count):
        text += " So few cases show nothing of others."
    else:
        verb = "is better" if judged[method].is_better else "is not shown to be better"
        text += f" It {verb} than doing nothing (p {judged[method].p_better:.3f})."
    return textwrap.fill(text, WIDTH)


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
    if parts := _parts(records):
        sentences.append(parts)
    for direction in ("lower", "higher"):
        headings = ", ".join(m.heading for m in measures if m.better == direction)
        sentences.append(f"{direction.capitalize()} is better: {headings}")
    return "\n".join(textwrap.fill(sentence, WIDTH) for sentence in sentences)


def _parts(records: "Sequence[Record]") -> str:
    """What each part of the method costs, as it names them; empty if it names none."""
    measured = [record.cost for record in records if record.cost]
    costs: dict[str, float] = {}
    for cost in measured:
        passed = cost.forward_samples + 2 * cost.backward_samples
        for name, part in (cost.parts or {}).items():
            spent = cost.epochs_equivalent * part / max(1, passed) / len(measured)
            costs[name] = costs.get(name, 0.0) + spent
    told = ", ".join(f"{name} {spent:.2f}" for name, spent in costs.items())
    return told and f"Epochs-equivalent of {records[0].method} by part: {told}."


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
