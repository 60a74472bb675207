"""How `mubench run` prints records: as a table, as JSON and as CSV."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from mubench.cli.run_table import csv_text, table_text
from mubench.record.folder import read_record
from mubench.record.measures import MEASURES, Place, shown_in
from tests.helpers.commands import RUN, call
from tests.helpers.lab import Lab, make_task


@pytest.fixture
def records(tmp_path):
    """Two seeds of a case, and a run that failed."""
    lab = Lab(tmp_path / "results", make_task())
    paths = [lab.add("m", "a-50", seed) for seed in (0, 1)] + [lab.fail("m", "b-50")]
    return [read_record(path) for path in paths]


def test_the_table_has_a_column_a_measure_and_a_floor_a_case(records):
    table = table_text(records)
    header, _, *rows = table.partition("\n\n")[0].splitlines()
    measures = shown_in(Place.RUN)
    assert re.split("  +", header) == ["case", "method", *(m.heading for m in measures), "note"]
    assert [re.split("  +", row)[:2] for row in rows] == [
        ["a-50", "m (seed 0)"],
        ["a-50", "floor: gold against golds"],
        ["a-50", "m (seed 1)"],
        ["b-50", "m (seed 0)"],
    ]
    values = {name: metric.value for name, metric in records[0].metrics.items()}
    printed = [m.text(values[m.name]) for m in measures if m.name in values]
    cells = re.split("  +", rows[0].rstrip())[2:]
    assert cells[: len(printed)] == printed
    assert cells[len(printed) :] == ["12.5", "0.12", "1.05"]
    assert rows[3].endswith("error: ValueError: no")


def test_the_legend_tells_what_the_numbers_are_of(records):
    legend = table_text(records).partition("\n\n")[2]
    easy = 100 * records[0].metrics["all_easy_rate"].value
    assert legend.startswith("Samples: 50 in D_f, 200 in the test set; golds: 3.\n")
    assert f"calling every sample easy: {easy:.1f}%;" in legend
    assert "Retraining costs 9.47 epochs-equivalent; seconds are on 1 thread(s) of" in legend
    assert "Higher is better: test acc %, label acc %" in legend


def test_runs_that_all_failed_have_no_legend(records):
    assert "Samples" not in table_text(records[2:])


def test_csv_has_every_metric_unrounded(records):
    first, _, failed = csv.DictReader(io.StringIO(csv_text(records)))
    for name in MEASURES.keys() & records[0].metrics.keys():
        assert float(first[name]) == records[0].metrics[name].value
    assert (failed["status"], failed["delta"], failed["seconds"]) == ("error", "", "12.5")


def test_json_is_a_record_a_line(folder):
    result = call(*RUN, "--format", "json", "--seed", "0", "--seed", "3")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["seed"] for record in records] == [0, 3]
    assert records[0]["metrics"]["delta"]["count"] == 6


def test_csv_has_a_row_a_record(folder):
    result = call(*RUN, "--format", "csv", "--set", "lr=0.3")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert row["method"] == "my-method"
    assert float(row["delta"]) >= 0
    assert row["status"] == "ok"
    (file,) = Path("results/tiny/my-method").glob("*.json")
    assert json.loads(file.read_text())["parameters"]["lr"] == 0.3
