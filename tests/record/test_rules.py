"""What a record must state: numbers, fields and, read thoroughly, all the rest."""

import json

import pytest

from mubench.record.check import read_results
from tests.helpers.lab import Lab, edit, make_task
from tests.helpers.rejections import only_rejected


@pytest.mark.parametrize(
    "name",
    [
        "metrics__delta__value", "metrics__delta_signed__value", "metrics__test_accuracy__value",
        "metrics__retain_accuracy__value", "metrics__activation_distance__value",
        "metrics__js_divergence__value", "metrics__label_accuracy__value", "metrics__tow__value",
        "metrics__all_easy_rate__value", "floor__delta__value", "cost__epochs_equivalent",
        "cost__retrain_epochs_equivalent", "cost__backward_samples",
    ],
)  # fmt: skip
def test_edited_number(lab, name):
    path, *_ = lab.add_entry("m")
    content = json.loads(path.read_text())
    for part in name.split("__"):
        content = content[part]
    edit(path, **{name: content + 1})
    assert "and should state" in only_rejected(lab, path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec_sha": "f" * 64}, "another spec of made@1"),
        ({"case": "z-50"}, "not where it belongs"),
        ({"budget": 9.0}, "states budget = 9.0, and should state 0.5"),
        ({"golds": []}, "states golds = 0, and should state 3"),
        ({"flags": ["over-budget"]}, "its flags deny it"),
        ({"flags": ["uncounted-work"]}, "disagree on uncounted work"),
        ({"cost__unseen_backward_samples": 900}, "disagree on uncounted work"),
        ({"cost": None}, "states no cost"),
        ({"status": "error"}, "status error and yet metrics"),
        ({"metrics": {}}, "status ok and no metrics"),
        ({"seed": "one"}, "is not a record: seed"),
        ({"readout_sha256": "0" * 64}, "than the one here"),
    ],
)
def test_edited_field(lab, changes, reason):
    path, *_ = lab.add_entry("m")
    edit(path, **changes)
    assert reason in only_rejected(lab, path)


def test_case_of_another_task(lab):
    lab.add("m", "a-50")
    stranger = Lab(lab.results, make_task("made", classes=("a", "z"))).add("m", "z-50")
    edit(stranger, spec_sha=lab.task.spec_sha)
    assert "case z-50, which made@1 does not have" in only_rejected(lab, stranger)


@pytest.mark.parametrize("name", ["mia_auc__value", "delta__count", "delta_signed__stderr"])
def test_thorough_reading_checks_what_no_page_prints(tmp_path, task, name):
    lab = Lab(tmp_path, task, num_peers=30)
    path = lab.add("m", "a-50")
    lab.add("m", "b-50")
    assert read_results(tmp_path, [task], thorough=True).rejected == ()
    edit(path, **{f"metrics__{name}": 7})
    assert read_results(tmp_path, [task]).rejected == ()
    (rejected,) = read_results(tmp_path, [task], thorough=True).rejected
    assert f"states {name.replace('__', ' ')} = 7" in rejected.reason


def test_thorough_reading_finds_what_readouts_do_not_give(lab):
    path = lab.add("m", "a-50")
    edit(path, metrics__made_up={"value": 1.0, "count": 1})
    (rejected,) = read_results(lab.results, [lab.task], thorough=True).rejected
    assert "made_up" in rejected.reason
