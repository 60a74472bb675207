"""How `mubench run` prints records: as JSON and as CSV."""

import csv
import io
import json
from pathlib import Path

from tests.helpers.commands import RUN, call


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
