"""The likelihood-ratio attack on normal distributions whose overlap is known."""

import numpy as np
import pytest
from scipy import stats

from mubench.record.audit.lira import (
    FPR,
    Leak,
    Normals,
    Scores,
    log_likelihood_ratio,
    memorisation,
    threshold_of,
)


def models(rng, count, shift, number=2000):
    """Log-odds of half as many models that were trained on each sample, and as many that not."""
    trained = np.zeros((2 * count, number), bool)
    trained[:count] = True
    center = rng.normal(0, 3, number)
    return center, center + rng.normal(0, 1, trained.shape) + shift * trained, trained


def attacked(rng, count, shift, target_shift):
    """The scores of a model whose log-odds are shifted by so much, each gold left out once."""
    center, values, trained = models(rng, count, shift)
    own = center + rng.normal(0, 1, len(center)) + target_shift
    rows = [row for row in range(2 * count) if not trained[row, 0]]
    ratios, golds = [], []
    for row in rows:
        others = np.arange(2 * count) != row
        ratios.append(log_likelihood_ratio(own, values[others], trained[others]))
        golds.append(log_likelihood_ratio(values[row], values[others], trained[others]))
    golds = np.stack(golds)
    return Scores(np.stack(ratios), golds, threshold_of([golds]))


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
def test_two_normals_of_known_overlap(shift):
    """With many models, the AUROC and the rate are those of two normals at that distance."""
    leak = Leak.of([attacked(np.random.default_rng(0), 30, shift, shift)])
    assert leak.auroc.mean == pytest.approx(stats.norm.cdf(shift / np.sqrt(2)), abs=0.02)
    expected = stats.norm.sf(stats.norm.isf(FPR) - shift)
    assert leak.tpr.mean == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("count", [3, 4])
def test_a_retrained_model_is_not_told_from_golds_however_few_they_are(count):
    cases = [attacked(np.random.default_rng(seed), count, 2.0, 0.0) for seed in range(8)]
    leak = Leak.of(cases)
    assert leak.auroc.mean == pytest.approx(0.5, abs=0.01)
    assert leak.tpr.mean == pytest.approx(FPR, abs=0.004)


def test_half_of_the_way_back_is_half_found():
    full, half, none = (
        Leak.of([attacked(np.random.default_rng(1), 3, 3.0, shift)]) for shift in (3.0, 1.5, 0.0)
    )
    assert none.tpr.mean < half.tpr.mean < full.tpr.mean
    assert none.auroc.mean < half.auroc.mean < full.auroc.mean


def test_a_model_that_is_pushed_beyond_the_golds_is_no_member():
    leak = Leak.of([attacked(np.random.default_rng(2), 3, 3.0, -3.0)])
    assert leak.auroc.mean < 0.1
    assert leak.tpr.mean < FPR


def test_a_normal_per_sample_by_hand():
    values = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 8.0]])
    counts = np.array([[True, True], [True, True], [False, True]])
    fitted = Normals.of(values, counts)
    assert fitted.mean_N.tolist() == [2.0, 6.0]
    variance = (1 + 1 + 1 + 1 + 4) / (1 + 2)
    assert fitted.std_N == pytest.approx(np.sqrt([variance * 3 / 2, variance * 4 / 3]))
    density = stats.norm.logpdf([0.0, 7.0], fitted.mean_N, fitted.std_N)
    assert fitted.log_density(np.array([0.0, 7.0])) == pytest.approx(
        density + np.log(2 * np.pi) / 2
    )


def test_models_that_all_agree_give_finite_ratios():
    same = np.ones((4, 3))
    trained = np.array([[True] * 3, [True] * 3, [False] * 3, [False] * 3])
    assert np.isfinite(log_likelihood_ratio(np.ones(3), same, trained)).all()


def test_memorisation_by_hand():
    right = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    trained = np.array([[1, 1], [1, 1], [0, 0], [0, 1]], bool)
    assert memorisation(right, trained).tolist() == [1.0, pytest.approx(1 / 3 - 1)]
