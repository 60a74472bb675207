"""How much other seeds may change: noise is quiet, and few runs tell nothing."""

import numpy as np
import pytest

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
