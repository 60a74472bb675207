"""Who ranks where: means, intervals, shared ranks, standings and notes."""

import numpy as np
import pytest

from mubench.board.page import render
from mubench.board.ranking import Standing, build
from mubench.record.check import read_results
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, edit, make_task


def entries(lab):
    (board,) = boards(lab)
    return {entry.label: entry for entry in board.entries}


def test_order_and_ranks(lab):
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("equal", accuracy=0.72)
    lab.add_entry("worse", accuracy=0.9)
    lab.add_entry("guess", accuracy=0.7, knowledge=0.0)  # the best delta, on the wrong samples
    lab.add_entry("original", accuracy=1.0, control=True)
    (board,) = boards(lab)
    found = [(e.label, e.rank, e.standing, e.passes_sample_test) for e in board.entries]
    assert found == [
        ("equal", 1, Standing.RANKED, True),
        ("good", 1, Standing.RANKED, True),
        ("worse", 3, Standing.RANKED, True),
        ("guess", 4, Standing.RANKED, False),
        ("original", None, Standing.CONTROL, True),
    ]
    means = {e.label: e.intervals["delta"].mean for e in board.entries}
    assert means["guess"] < means["good"]
    assert board.floor_intervals["delta"].mean > 0


def test_shared_rank_ends_at_the_first_that_the_leader_beats(lab):
    lab.add_entry("leader", accuracy=0.72)
    for case, accuracy in zip(lab.cases, (0.72, 0.9, 0.72, 0.72), strict=True):
        lab.add("noisy", case, accuracy=accuracy)
    lab.add_entry("beaten", accuracy=0.8)
    for case, accuracy in zip(lab.cases, (0.72, 1.0, 0.72, 0.92), strict=True):
        lab.add("noisier", case, accuracy=accuracy)
    (board,) = boards(lab)
    ranks = {entry.label: entry.rank for entry in board.entries}
    assert ranks == {"leader": 1, "noisy": 1, "beaten": 3, "noisier": 3}


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
    assert [entry.rank for entry in found.values() if entry.rank] == [1]
    assert "1 of 4 cases" in found["half"].notes
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert r"| broken   | a-50   | 0      | error    | RuntimeError: a \| b |" in page


def test_guessing_fails_where_golds_are_mostly_wrong(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=tuple("abcdefgh")))
    for case in lab.cases:
        lab.golds(case, accuracy=0.3)
    lab.add_entry("guess", accuracy=0.3, knowledge=0.0)
    lab.add_entry("knows", accuracy=0.3, knowledge=0.9)
    (board,) = boards(lab)
    by_label = {entry.label: entry for entry in board.entries}
    guess = by_label["guess"].intervals
    assert guess["label_accuracy"].mean > guess["all_easy_rate"].mean
    assert not by_label["guess"].passes_sample_test
    assert by_label["knows"].passes_sample_test
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
    assert {entry.rank for entry in entries(lab).values()} == {1}


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


def test_tasks_of_one_size_come_first(tmp_path):
    sized = Lab(tmp_path / "results", make_task("a-task", sizes=(20, 40)))
    plain = Lab(tmp_path / "results", make_task("b-task"))
    for lab in (sized, plain):
        lab.add_entry("m")
    tasks = [sized.task, plain.task]
    built = build(read_results(tmp_path / "results", tasks).checked, tasks)
    assert [board.task.name for board in built] == ["b-task", "a-task"]


def test_values_of_cases_are_grouped_by_size(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a", "b"), sizes=(40, 20)))
    lab.add_entry("m")
    (board,) = boards(lab)
    values = {"b-20": 1.0, "a-40": 2.0, "a-20": 3.0}
    grouped = board.by_size(values)
    assert grouped == {20: [1.0, 3.0], 40: [2.0]}
    assert list(grouped) == [20, 40]
