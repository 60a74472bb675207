"""What `regress` prints: reasons first, each number in its unit, for people and for programs."""

import json

import pytest

from mubench.gate.regress import Comparison, Finding
from mubench.gate.regress_report import as_json, as_markdown, as_table, verdict


def finding(measure="delta", **changes):
    fields = {
        "task": "made@1", "method": "m", "parameters": "12345678", "measure": measure,
        "cases": 4, "worst_case": "a-40", "is_regression": True, "note": "",
        "baseline": 0.5, "new": 0.25, "change": 0.25, "tolerance": 0.125,
    }  # fmt: skip
    return Finding(**(fields | changes))


def comparison(*findings):
    return Comparison(findings, ("m (12345678) on made@1: b-40 only in new",))


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("delta", "delta 0.500 -> 0.250 (tolerated: +0.125)"),
        ("test_accuracy", "test_accuracy 50.00 -> 25.00 (tolerated: +12.50)"),
        ("epochs_equivalent", "epochs_equivalent 0.50 -> 0.25 (tolerated: x 0.12)"),
    ],
)
def test_each_reason_is_a_line_in_the_unit_of_its_measure(measure, expected):
    (line,) = verdict(comparison(finding(measure)), [])
    assert line == f"m (12345678) on made@1, worst case a-40: {expected}"


def test_a_failure_tells_what_happened():
    failed = finding(
        "status", note="error: boom", baseline=None, new=None, change=None, tolerance=None
    )
    (line,) = verdict(comparison(failed), [])
    assert line == "m (12345678) on made@1, worst case a-40: error: boom"
    assert "WORSE" in as_table(comparison(failed), [])


def test_a_rejected_record_alone_is_a_regression():
    fine = comparison(finding(is_regression=False))
    assert verdict(fine, []) == ["no regression in 1 comparisons"]
    assert as_markdown(fine, []).startswith("### mubench regress: no regression\n")
    text = as_markdown(fine, ["new/made/m/a.json: it is odd"])
    assert text.startswith("### mubench regress: regression\n")
    assert "- rejected new/made/m/a.json: it is odd\n" in text


def test_a_note_stands_in_the_table_and_cannot_break_it():
    told = comparison(finding(is_regression=False, tolerance=None, note="a | b\nc"))
    (row,) = [line for line in as_markdown(told, []).splitlines() if "made@1" in line][:1]
    assert r"a \| b c" in row
    assert "b-40 only in new" in as_table(told, [])


def test_json_has_numbers_unrounded():
    content = json.loads(as_json(comparison(finding(new=1 / 3)), ["a line"]))
    assert content["findings"] == content["regressions"]
    assert content["findings"][0]["new"] == 1 / 3
    assert content["rejected"] == ["a line"]
