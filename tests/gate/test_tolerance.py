"""How much other seeds may change: noise is quiet, and few runs tell nothing."""

import numpy as np
import pytest

from mubench.gate.tolerance import QUALITY, CasePair, Golds, Side, Tolerance
from mubench.record.stacked import StackedReadouts
from tests.helpers.comparisons import fresh_lab, judged


def noisy(lab, case, seed):
    """A run whose accuracy and knowledge depend on its seed, by more than its samples explain."""
    rng = np.random.default_rng([9, seed, lab.cases.index(case)])
    accuracy = float(np.clip(0.8 + rng.normal(0, 0.05), 0, 1))
    return lab.readout(case, rng, accuracy, 0.6, test_accuracy=0.8 + rng.normal(0, 0.01))


@pytest.mark.slow
def test_seed_noise_is_quiet(lab, tmp_path):
    for case in lab.cases:
        lab.add("m", case, readout=noisy(lab, case, 0))
    alarms = 0
    for seed in range(1, 21):
        new = fresh_lab(lab, tmp_path, f"new-{seed}")
        for case in lab.cases:
            new.add("m", case, seed, readout=noisy(lab, case, seed))
        alarms += bool(judged(lab, new)[1])
    assert alarms <= 1


def test_one_case_with_another_seed_tells_nothing_of_quality(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add("m", "a-40", 0, accuracy=0.7)
    new.add("m", "a-40", 1, accuracy=1.0)
    comparison, worse = judged(lab, new)
    assert not worse
    assert {f.note for f in comparison.findings if f.measure == "delta"} == {
        "cannot tell: too few cases and seeds"
    }


def test_several_seeds_tell_what_a_seed_does(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    for seed in range(4):
        lab.add("m", "a-40", seed, accuracy=0.8)
        new.add("m", "a-40", 10 + seed, accuracy=1.0)
    assert "delta" in judged(lab, new)[1]


NUM_CASES, NUM_FORGET, NUM_TEST = 10, 100, 200
LABELS, TEST_LABELS = np.zeros(NUM_FORGET, int), np.zeros(NUM_TEST, int)


def model(logits_N, rng):
    """A model of two classes, right on a sample if its logit is above zero."""
    logits_NK = np.stack([logits_N, np.zeros(NUM_FORGET)], axis=1)
    test_predictions = (rng.random(NUM_TEST) < 0.15).astype(int)
    return {
        "forget_logits": logits_NK, "forget_labels": LABELS, "test_labels": TEST_LABELS,
        "test_predictions": test_predictions, "retain": np.array([9, 10]),
    }  # fmt: skip


def compared(rng, noise=0.5, lost=0.0, flipped=0):
    """Ten cases of a method and of a re-run that moves by so much of what tells golds apart.

    Args:
        rng: draws everything.
        noise: of a run, in standard deviations of a gold.
        lost: what the re-run adds to each logit.
        flipped: in the first case, so many samples more are right in the re-run.
    """
    pairs = []
    for number in range(NUM_CASES):
        center_N = rng.normal(1, 2, NUM_FORGET)
        golds = [model(center_N + rng.normal(0, 1, NUM_FORGET), rng) for _ in range(3)]
        of_case = Golds(StackedReadouts.of(golds))
        runs = [center_N + 1 + noise * rng.normal(0, 1, NUM_FORGET) for _ in range(2)]
        runs[1] = runs[1] + lost
        if number == 0:
            runs[1][np.flatnonzero(runs[1] < 0)[:flipped]] += 20
        sides = [Side.of(StackedReadouts.of([model(run, rng)]), of_case.models) for run in runs]
        pairs.append(CasePair(str(number), *sides, of_case))
    return {measure: Tolerance(pairs, measure) for measure in QUALITY}


def is_worse(tolerance):
    limit = tolerance.of_mean()
    return limit is not None and tolerance.differences_C.mean() > limit


def test_re_runs_are_quiet_and_what_is_planted_is_found():
    """The simulation behind the table in DESIGN.md, small."""
    rng = np.random.default_rng(0)
    quiet = [compared(rng) for _ in range(8)]
    alarms = [any(is_worse(t) or t.worse_cases() for t in one.values()) for one in quiet]
    assert sum(alarms) <= 1
    assert all(is_worse(compared(rng, lost=0.5)["margin_distance"]) for _ in range(2))
    in_one_case = [compared(rng, noise=0.2, flipped=12)["delta"].worse_cases() for _ in range(2)]
    assert [[pair.case for pair, _ in worse] for worse in in_one_case] == [["0"]] * 2


def test_runs_that_are_the_same_need_no_more_than_the_margin():
    tolerance = compared(np.random.default_rng(0), noise=0.0)["delta"]
    margins = [0.1 * pair.golds.gap("delta") for pair in tolerance.pairs]
    assert tolerance.of_mean() == pytest.approx(np.mean(margins))
    assert tolerance.worse_cases() == []
