"""New records against a baseline: what is worse, costlier or failing, and what is not."""

import shutil

import numpy as np
import pytest

from mubench.record.readout import parse_readout
from tests.helpers.comparisons import CLASSES, fresh_lab, judged


def flipped(path, points):
    """A record's readout, right on so many points more of D_f."""
    readout = parse_readout(path.with_suffix(".npz").read_bytes(), path.name)
    wrong = np.flatnonzero(~readout.forget_right_N)
    count = round(points / 100 * len(readout.forget_labels_N))
    logits = readout.forget_logits_NK.copy()
    logits[wrong[:count], 0] += 20
    return readout.__class__(**{**vars_of(readout), "forget_logits_NK": logits})


def vars_of(readout):
    return {name: getattr(readout, name) for name in readout.__dataclass_fields__}


def test_same_records_pass(lab, tmp_path):
    lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    comparison, worse = judged(lab, fresh_lab(lab, tmp_path))
    assert not worse
    assert {f.measure for f in comparison.findings} == {
        "margin_distance", "delta", "activation_distance", "test_accuracy", "epochs_equivalent",
        "seconds",
    }  # fmt: skip


@pytest.mark.parametrize(("cases", "seeds"), [(CLASSES, 1), (CLASSES[:1], 3)])
def test_ten_points_of_delta_are_found(lab, tmp_path, cases, seeds):
    new = fresh_lab(lab, tmp_path)
    for case in (f"{name}-40" for name in cases):
        for seed in range(seeds):
            path = lab.add("m", case, seed, accuracy=0.8)
            new.add("m", case, seed, readout=flipped(path, 10))
    comparison, worse = judged(lab, new)
    assert "delta" in worse
    (finding,) = (f for f in comparison.regressions if f.measure == "delta")
    assert finding.method == "m"
    assert finding.change == pytest.approx(10, abs=0.5)
    assert finding.worst_case in lab.cases


def test_ten_points_in_one_case_of_ten_are_found(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    for case in lab.cases:
        path = lab.add("m", case, accuracy=0.8)
        new.add("m", case, readout=flipped(path, 10 if case == "c-40" else 0))
    comparison, worse = judged(lab, new)
    assert "delta" in worse
    found = [f for f in comparison.regressions if f.measure == "delta"]
    assert [(f.worst_case, f.cases) for f in found] == [("c-40", 1)]
    (over_all,) = (f for f in comparison.findings if f.measure == "delta" and f.cases == 10)
    assert not over_all.is_regression, "the other nine hide it in the mean"


def test_the_same_seeds_by_code_that_rounds_otherwise_are_quiet(lab, tmp_path):
    """What training makes of another rounding is as much as another seed does."""
    for case in lab.cases:
        lab.add("m", case, accuracy=0.8)
    for number in range(3):
        new = fresh_lab(lab, tmp_path, f"new-{number}")
        for case in lab.cases:
            rng = np.random.default_rng([5, number, lab.cases.index(case)])
            accuracy = float(np.clip(0.8 + rng.normal(0, 0.05), 0, 1))
            new.add("m", case, readout=lab.readout(case, rng, accuracy, 0.8))
        assert not judged(lab, new)[1]


def test_ten_points_with_other_seeds_are_found(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", accuracy=0.8, seeds=(0,))
    new.add_entry("m", accuracy=0.9, seeds=(1,))
    assert "delta" in judged(lab, new)[1]


def test_better_is_no_regression(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", accuracy=0.95, knowledge=0.5)
    new.add_entry("m", accuracy=0.72, knowledge=0.8)
    assert not judged(lab, new)[1]


def test_another_machine_is_like_another_seed(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add("m", "a-40", accuracy=0.7)
    new.add("m", "a-40", accuracy=1.0, device="another processor")
    assert not judged(lab, new)[1]


@pytest.mark.parametrize(("factor", "is_found"), [(1.0, False), (1.2, False), (2.0, True)])
def test_cost(lab, tmp_path, factor, is_found):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    samples = round(1000 * factor)
    new.add_entry("m", forward_samples=samples, backward_samples=samples)
    assert judged(lab, new)[1] == ({"epochs_equivalent"} if is_found else set())


def test_a_method_that_cost_nothing(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", forward_samples=0, backward_samples=0)
    new.add_entry("m")
    assert judged(lab, new)[1] == {"epochs_equivalent"}


def test_seconds_only_in_one_job_on_one_device(lab, tmp_path):
    lab.add_entry("m")
    slow, elsewhere = fresh_lab(lab, tmp_path), fresh_lab(lab, tmp_path, "elsewhere")
    slow.add_entry("m", seconds=25.0)
    elsewhere.add_entry("m", seconds=25.0, threads=2)
    assert not judged(lab, slow)[1]
    assert judged(lab, slow, same_job=True)[1] == {"seconds"}
    assert not judged(lab, elsewhere, same_job=True)[1]


@pytest.mark.parametrize(
    ("factors", "is_found"),
    [((2.5,), False), ((2.5, 2.4, 2.6, 2.5), True), ((0.9, 1.1, 1.0, 9.0), False)],
    ids=["a single pair", "four alike", "one run was disturbed"],
)
def test_seconds_are_told_by_pairs(lab, tmp_path, factors, is_found):
    new = fresh_lab(lab, tmp_path)
    for seed, factor in enumerate(factors):
        lab.add("m", "a-40", seed, seconds=10.0)
        new.add("m", "a-40", seed, seconds=10.0 * factor)
    comparison, worse = judged(lab, new, same_job=True)
    assert worse == ({"seconds"} if is_found else set())
    (finding,) = (f for f in comparison.findings if f.measure == "seconds")
    assert finding.change == pytest.approx(np.mean(factors))
    assert (finding.tolerance is None) == (len(factors) == 1)
    assert ("too few pairs" in finding.note) == (len(factors) == 1)


def test_seconds_without_a_common_seed_are_paired_case_by_case(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", seeds=(0,), seconds=10.0)
    new.add_entry("m", seeds=(1, 2), seconds=25.0)
    assert "seconds" in judged(lab, new, same_job=True)[1]


def test_new_failure(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    new.add("m", "b-40")
    new.fail("m", "a-40", error="RuntimeError: boom")
    comparison, worse = judged(lab, new)
    assert worse == {"status"}
    assert comparison.regressions[0].worst_case == "a-40"
    assert "boom" in comparison.regressions[0].note


def test_golds_trained_anew_change_nothing(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    new.golds("a-40", accuracy=0.5)
    for seed in range(3):
        path = lab.add("m", "a-40", seed)
        readout = parse_readout(path.with_suffix(".npz").read_bytes(), "")
        new.add("m", "a-40", seed, readout=readout)
    comparison, worse = judged(lab, new)
    assert not worse
    assert {f.change for f in comparison.findings if f.measure == "delta"} == {0.0}


def test_what_only_one_side_has(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    new.add("m", "a-40")
    new.add("n", "a-40")
    comparison, _ = judged(lab, new)
    assert len(comparison.unpaired) == 2
    with pytest.raises(ValueError, match="in common"):
        other = fresh_lab(lab, tmp_path, "other")
        other.add("o", "a-40")
        judged(lab, other)
