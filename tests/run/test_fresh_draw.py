"""Entries on forget sets that nobody has seen: who is complained of, and who is not."""

import pytest

from mubench._util.errors import UserError
from mubench.record.check import read_results
from mubench.run.fresh_draw import compare_draws, on_fresh_draw
from tests.helpers.commands import call
from tests.helpers.lab import Lab, make_task


def test_a_fresh_draw_is_of_the_same_cases_and_other_sets():
    task = make_task()
    fresh = on_fresh_draw(task, "a commit")
    assert fresh.forget.draw != task.forget.draw
    assert fresh.cases(task.forget.classes) == task.cases(task.forget.classes)
    assert fresh == on_fresh_draw(task, "a commit")
    assert fresh != on_fresh_draw(task, "another commit")
    assert fresh.spec_sha != task.spec_sha


def test_whole_classes_have_no_fresh_draw():
    task = make_task()
    forget = task.forget.model_copy(update={"kind": "class", "sizes": ()})
    with pytest.raises(UserError, match="whole classes, so it has no fresh draw"):
        on_fresh_draw(task.model_copy(update={"forget": forget}), "a commit")


def checked(folder, accuracies, **changes):
    """Records of one entry, with an accuracy on D_f per case."""
    lab = Lab(folder, make_task(classes=tuple("abcdef")))
    for case, accuracy in zip(lab.cases, accuracies, strict=False):
        lab.add("mine", case, accuracy=accuracy, **changes)
    return read_results(folder, [lab.task]).checked


def test_an_honest_entry_is_told_and_not_complained_of(tmp_path):
    published = checked(tmp_path / "a", [0.74, 0.82, 0.78, 0.9, 0.8, 0.76])
    fresh = checked(tmp_path / "b", [0.86, 0.78])
    lines, complaints = compare_draws(published, fresh)
    assert complaints == []
    delta = next(line for line in lines if "δ" in line)
    assert delta == "made@1 mine: δ 10.0 (floor 2.7) published, 12.0 (floor 2.7) on the fresh draw"


def test_an_entry_that_knew_the_published_sets(tmp_path):
    published = checked(tmp_path / "a", [0.7, 0.72, 0.7, 0.68, 0.7, 0.7])
    _, complaints = compare_draws(published, checked(tmp_path / "b", [0.96, 0.94]))
    (delta,) = [line for line in complaints if "δ" in line]
    assert delta.startswith("made@1 mine: δ ")
    assert "worse by " in delta and "within the noise of cases" in delta
    _, complaints = compare_draws(checked(tmp_path / "c", [0.96, 0.94, 0.95]), published)
    assert not [line for line in complaints if "δ" in line], "better is no complaint"


def test_too_few_cases_judge_nobody(tmp_path):
    published = checked(tmp_path / "a", [0.7, 0.7])
    lines, complaints = compare_draws(published, checked(tmp_path / "b", [1.0]))
    assert complaints == []
    assert all(line.endswith("; too few cases to judge") for line in lines)


def test_a_run_that_failed_on_the_fresh_draw_alone(tmp_path):
    published = checked(tmp_path / "a", [0.7, 0.7, 0.7])
    lab = Lab(tmp_path / "b", make_task())
    lab.fail("mine", "b-50")
    fresh = read_results(lab.results, [lab.task]).checked
    lines, complaints = compare_draws(published, fresh)
    assert lines == []
    assert complaints == ["made@1 mine: on a fresh draw, b-50 ends as error (ValueError: no)"]


@pytest.mark.slow
def test_the_command_measures_on_a_fresh_draw(entry):
    command = ("verify", entry, "--rerun", 1, "--rerun-seed", "a commit", "--fresh-draw")
    done = call(*command)
    assert done.exit_code == 0, done.output
    assert "1 of 2 records, chosen by --rerun-seed a commit" in done.stderr
    assert "training gold 1 of" in done.stderr
    assert "on the fresh draw; too few cases to judge" in done.stderr
    assert call(*command, "--write").exit_code == 2
