"""How `mubench run` prints records: as a table, as JSON and as CSV."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from mubench.cli.run_table import csv_text, table_text
from mubench.record.folder import read_record
from mubench.record.measures import MEASURES, Place, shown_in, stated_values
from tests.helpers.commands import RUN, call
from tests.helpers.lab import Lab, make_task


@pytest.fixture
def records(tmp_path):
    """Two seeds of a case, and a run that failed."""
    lab = Lab(tmp_path / "results", make_task())
    paths = [lab.add("m", "a-50", seed) for seed in (0, 1)] + [lab.fail("m", "b-50")]
    return [read_record(path) for path in paths]


def split(line):
    return re.split("  +", line.rstrip())


@pytest.mark.parametrize(("wide", "place"), [(False, Place.RUN), (True, Place.RUN_WIDE)])
def test_the_table_has_a_column_per_measure_and_rows_to_compare_with(records, wide, place):
    table = table_text(records, wide)
    header, _, *rows = table.partition("\n\n")[0].splitlines()
    measures = shown_in(place)
    assert split(header) == ["", *(m.heading for m in measures), "gap closed"]
    names = [split(row)[0] for row in rows[:7]]
    assert names == ["a-50:", "m (0)", "m (1)", "nothing", "another gold", "b-50:", "m"]
    assert rows[7:] == ["b-50, seed 0: error: ValueError: no"]
    values = stated_values(records[0].metrics, records[0].cost)
    assert split(rows[1])[1:-1] == [m.text(values[m.name]) for m in measures]
    margin = "margin_distance"
    nothing = records[0].nothing[margin].value
    gap = nothing - records[0].floor[margin].value
    assert split(rows[1])[-1] == f"{(nothing - records[0].metrics[margin].value) / gap:.2f}"
    assert (split(rows[3])[-1], split(rows[4])[-1]) == ("0", "1")


def test_the_short_table_fits_into_80_columns(records):
    names = {"case": "automobile-100", "method": "bad-teacher"}
    long = [record.model_copy(update=names) for record in records]
    assert max(map(len, table_text(long[:2]).splitlines())) <= 80


def test_the_sentence_tells_what_is_shown(tmp_path):
    lab = Lab(tmp_path, make_task(classes=tuple("abcdefgh")))
    records = [read_record(path) for path in lab.add_entry("m", accuracy=0.8)]
    one, few, all_ = (table_text(records[:count]).split("\n\n")[1] for count in (1, 4, 8))
    assert re.match(r"m closes 0\.\d\d of the gap on a-50; doing nothing closes 0, another", one)
    assert " ".join(few.split()).endswith("So few cases show nothing of others.")
    assert re.match(r"m closes 0\.\d\d \(0\.\d\d to \d\.\d\d\) of the gap on 8 cases;", all_)
    assert " ".join(all_.split()).endswith("It is better than doing nothing (p 0.004).")


def test_a_case_where_nothing_is_as_close_as_a_gold_tells_nothing(tmp_path):
    lab = Lab(tmp_path, make_task())
    (golds, *_), gold = lab.golds("a-50"), lab.golds("a-50")[0][0]
    lab.original = lambda case, number: gold
    assert golds
    record = read_record(lab.add("m", "a-50"))
    assert "cannot tell methods apart" in " ".join(table_text([record]).split())


def test_the_legend_tells_what_the_numbers_are_of(records):
    legend = table_text(records).split("\n\n")[2]
    easy = 100 * records[0].metrics["all_easy_rate"].value
    assert legend.startswith("Samples: 50 in D_f, 200 in the test set; golds: 3.\n")
    assert f"calling every sample easy: {easy:.1f}%;" in legend
    legend = " ".join(legend.split())
    assert "Retraining costs 9.47 epochs-equivalent; seconds are on 1 thread(s) of" in legend
    assert "Higher is better: test acc %" in legend


def test_the_legend_tells_the_cost_of_each_part(records):
    cost = records[0].cost
    half = (cost.forward_samples + 2 * cost.backward_samples) // 2
    told = cost.model_copy(update={"parts": {"last step": half, "marks": 0}})
    legend = table_text([records[0].model_copy(update={"cost": told})]).split("\n\n")[2]
    expected = f"of m by part: last step {cost.epochs_equivalent / 2:.2f}, marks 0.00."
    assert expected in " ".join(legend.split())
    assert "by part" not in table_text(records)


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
