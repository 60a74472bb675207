"""Who ranks where: means, intervals, verdicts, ranks, standings and notes."""

import numpy as np
import pytest

from mubench.board.pages.leaderboard import render
from mubench.board.ranking import Standing, build
from mubench.board.verdicts import Verdict
from mubench.record.check import read_results
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, edit, make_task


@pytest.fixture
def wide(tmp_path):
    """Eight classes, enough to show something."""
    return Lab(tmp_path / "wide", make_task(classes=tuple("abcdefgh")))


def entries(lab):
    (board,) = boards(lab)
    return {entry.label: entry for entry in board.entries}


def test_order_ranks_and_letters(wide):
    wide.add_entry("good", accuracy=0.72)
    wide.add_entry("equal", accuracy=0.72)
    for case in wide.cases:  # as sure as the original
        rng = np.random.default_rng(0)
        wide.add("worse", case, readout=wide.readout(case, rng, 0.85, sharpness=6.0))
    wide.add_entry("guess", accuracy=0.7, knowledge=0.0)  # the best delta, on the wrong samples
    wide.add_entry("idle", accuracy=0.98, control=True)
    (board,) = boards(wide)
    found = {entry.label: (entry.rank, entry.judgement.verdict) for entry in board.entries}
    assert [entry.label for entry in board.entries[3:]] == ["guess", "idle"]
    assert {found["good"][0], found["equal"][0]} == {1, 2}
    assert found["worse"][0] == 3
    assert found["worse"][1] is Verdict.BETTER
    assert found["guess"] == (None, Verdict.NOT_SHOWN)
    assert found["idle"][0] is None
    letters = {entry.label: entry.group for entry in board.entries}
    assert letters["good"] == letters["equal"] == "a"
    assert (letters["worse"], letters["guess"], letters["idle"]) == ("b", "", "")
    means = {entry.label: entry.intervals["delta"].mean for entry in board.entries}
    assert means["guess"] < means["worse"]
    assert board.floor_intervals["delta"].mean > 0
    assert 0 < board.least_difference < 1


def test_who_loses_accuracy_has_no_rank_and_stands_below(wide):
    rng = np.random.default_rng(0)
    wide.add_entry("keeps", accuracy=0.85)
    for case in wide.cases:
        wide.add("loses", case, readout=wide.readout(case, rng, 0.72, 0.8, test_accuracy=0.77))
    wide.add_entry("guess", accuracy=0.7, knowledge=0.0)
    (board,) = boards(wide)
    found = [(entry.label, entry.rank, entry.passes) for entry in board.entries]
    assert found == [("keeps", 1, True), ("loses", None, False), ("guess", None, False)]
    assert "loses test accuracy" in board.entries[1].notes


def test_a_control_that_does_nothing_stands_in_for_originals_that_were_not_scored(wide):
    wide.add_entry("good", accuracy=0.72)
    for case in wide.cases:
        wide.add("idle", case, control=True, flags=("no-op",), readout=wide.original(case))
    expected = entries(wide)["good"].judgement
    for path in wide.results.glob("made/*/*.json"):
        edit(path, nothing={}, nothing_readout_sha256=None, original_key=None)
    assert entries(wide)["good"].judgement == expected
    for path in wide.results.glob("made/idle/*.json"):
        path.unlink()
    assert entries(wide)["good"].judgement is None
    assert "better" not in entries(wide)["good"].notes


def test_intervals_are_over_cases_with_seeds_nested(lab):
    for case, accuracies in zip(lab.cases, ((0.8, 1.0), (0.8,), (0.9,), (0.7,)), strict=True):
        for seed, accuracy in enumerate(accuracies):
            lab.add("m", case, seed, accuracy)
    delta = entries(lab)["m"].intervals["delta_signed"]
    assert delta.mean == pytest.approx(100 * (np.mean([0.9, 0.8, 0.9, 0.7]) - 0.7), abs=0.7)
    expected = 3.182 * np.std([0.9, 0.8, 0.9, 0.7], ddof=1) / 2 * 100
    assert delta.half_width == pytest.approx(expected, rel=0.01)


def test_why_entries_are_not_ranked(lab):
    lab.add_entry("ranked")
    lab.add("half", "a-50")
    lab.add_entry("dear", forward_samples=9000, backward_samples=9000)
    for case in lab.cases[1:]:
        lab.add("broken", case)
    lab.fail("broken", "a-50", error="RuntimeError: a | b")
    lab.fail("hopeless", "a-50")
    found = entries(lab)
    standings = {label: entry.standing for label, entry in found.items()}
    assert standings == {
        "ranked": Standing.RANKED,
        "half": Standing.PROVISIONAL,
        "dear": Standing.OVER_BUDGET,
        "broken": Standing.FAILED,
        "hopeless": Standing.FAILED,
    }
    assert found["ranked"].judgement
    assert found["half"].judgement is None
    assert "1 of 4 cases" in found["half"].notes
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert r"| broken   | a-50   | 0      | error    | RuntimeError: a \| b |" in page


def test_cases_where_golds_are_mostly_wrong_are_named(wide):
    for case in wide.cases:
        wide.golds(case, accuracy=0.3)
    wide.add_entry("guess", accuracy=0.3, knowledge=0.0)
    (board,) = boards(wide)
    guess = board.entries[0].intervals
    assert guess["label_accuracy"].mean > guess["all_easy_rate"].mean
    assert guess["label_gain"].mean + guess["label_gain"].half_width < 0
    assert "over calling every sample hard: a-50 (70" in render([board], [], "results")


def test_missing_seeds_are_provisional(tmp_path):
    lab = Lab(tmp_path, make_task(seeds=2))
    lab.add_entry("one")
    lab.add_entry("two", seeds=(0, 1))
    found = entries(lab)
    assert found["one"].standing is Standing.PROVISIONAL
    assert "1 of 2 seeds" in found["one"].notes
    assert found["two"].standing is Standing.RANKED


def test_one_case_tells_nothing_apart(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a",)))
    lab.add_entry("good", accuracy=0.7)
    lab.add_entry("bad", accuracy=0.1)
    assert {entry.judgement for entry in entries(lab).values()} == {None}


def test_parameters_make_entries(lab):
    lab.add_entry("m", parameters={"lr": 0.1, "last": {"epochs": 1}})
    lab.add("m", "a-50", parameters={"lr": 0.2, "last": {"epochs": 1}})
    lab.add("m", "b-50", parameters={"lr": 0.1, "last": {"epochs": 3}})
    assert entries(lab).keys() == {"m", "m (lr=0.2)", "m (last.epochs=3)"}


def test_flags_and_mixed_code_are_shown(lab):
    first, second, *_ = lab.add_entry("m")
    edit(first, flags=["no-op"])
    edit(second, source_sha256="3" * 64)
    edit(second, isolated=False)
    assert entries(lab)["m"].notes == (
        "no-op in 1 of 4 runs", "not isolated in 1 of 4 runs", "2 versions of its code"
    )  # fmt: skip


def test_tasks_that_can_show_something_come_first_and_those_of_one_size(tmp_path):
    shapes = {
        "a": {"classes": ("a", "b", "c")},
        "b": {"classes": tuple("abcdefgh"), "sizes": (20, 40)},
        "c": {"classes": tuple("abcdefgh")},
    }
    labs = [Lab(tmp_path / "results", make_task(name, **shape)) for name, shape in shapes.items()]
    for lab in labs:
        lab.add_entry("one")
    tasks = [lab.task for lab in labs]
    found = build(read_results(tmp_path / "results", tasks).checked, tasks)
    assert [board.task.name for board in found] == ["c", "b", "a"]


def test_values_of_cases_are_grouped_by_size(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a", "b"), sizes=(40, 20)))
    lab.add_entry("m")
    (board,) = boards(lab)
    values = {"b-20": 1.0, "a-40": 2.0, "a-20": 3.0}
    grouped = board.by_size(values)
    assert grouped == {20: [1.0, 3.0], 40: [2.0]}
    assert list(grouped) == [20, 40]


def test_a_bare_name_belongs_to_the_defaults_and_presets_are_named(wide):
    changed = {"changed": ("lr",)}
    wide.add_entry("a", seeds=(0, 1), parameters={"lr": 3}, **changed)  # the most records
    wide.add_entry("a", parameters={"lr": 1}, changed=())
    wide.add_entry("a", parameters={"lr": 2}, preset="paper", **changed)
    tuned = {"preset": "tuned", "tuning_epochs": 12.0, **changed}
    wide.add_entry("a", parameters={"lr": 4}, **tuned)
    wide.add_entry("a", parameters={"lr": 5}, **tuned)
    wide.add_entry("a", parameters={"lr": 6})  # an older record
    found = entries(wide)
    (other,) = {label for label in found if label.startswith("a (tuned) ")}
    assert set(found) == {"a", "a (lr=3)", "a (paper)", "a (tuned)", "a (lr=6)", other}
    assert "tuned without golds for 12 epochs-equivalent" in found["a (tuned)"].notes


def test_a_preset_with_the_values_of_the_defaults_has_their_name(wide):
    wide.add_entry("a", parameters={"lr": 1}, changed=(), preset="paper")
    wide.add_entry("a", seeds=(1,), parameters={"lr": 1}, changed=())
    assert set(entries(wide)) == {"a"}
