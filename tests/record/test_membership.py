"""Membership inference: chance, bounds, folds, and agreement with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from mubench.record.membership import loss_per_sample, mia_lr_loss, two_sided_gap


def losses(seed, size, scale=1.0):
    return np.random.default_rng(seed).exponential(scale, size)


def attack(members, nonmembers):
    result = mia_lr_loss(members, nonmembers)
    assert result is not None
    return result


def test_loss_per_sample_by_hand():
    # softmax(0, 0) = 1/2, so ln 2; softmax(0, ln 3) = (1/4, 3/4), so ln 4 for class 0.
    logits = np.array([[0, 0], [0, np.log(3)]], dtype=np.float32)
    assert loss_per_sample(logits, np.array([1, 0])) == pytest.approx([np.log(2), np.log(4)])


def test_loss_per_sample_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = log_loss(labels, probs, labels=range(4))
    assert loss_per_sample(logits, labels).mean() == pytest.approx(expected)


def test_loss_per_sample_of_extreme_logits_is_finite():
    logits = np.array([[65504, -65504]], dtype=np.float16)
    assert loss_per_sample(logits, np.array([1])) == pytest.approx([131008])


def test_identical_distributions_give_chance():
    results = [attack(losses(seed, 100), losses(seed + 1000, 500)) for seed in range(12)]
    # One AUC has a standard error of about .03 here, the mean of twelve of .009.
    assert np.mean([result.auc for result in results]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([result.accuracy for result in results]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([result.tpr for result in results]) == pytest.approx(0.01, abs=0.01)


@pytest.mark.parametrize(("member", "nonmember"), [(0.1, 2.0), (2.0, 0.1)])
def test_separated_losses_are_told_apart_in_either_direction(member, nonmember):
    result = attack(member + losses(0, 100, 0.01), nonmember + losses(1, 500, 0.01))
    assert (result.auc, result.accuracy, result.tpr, result.count) == (1.0, 1.0, 1.0, 600)


def test_one_constant_loss_tells_nothing():
    result = attack(np.zeros(20), np.zeros(100))
    assert (result.auc, result.accuracy, result.tpr) == (0.5, 0.5, 0.0)


def test_large_samples_approach_the_auc_of_the_loss_itself():
    members, nonmembers = losses(0, 4000, 0.5), losses(1, 3000, 1.0)
    is_member = np.repeat([1, 0], [4000, 3000])
    expected = roc_auc_score(is_member, -np.concatenate([members, nonmembers]))
    # Exponential losses: P(member < nonmember) = 1 / (1 + 0.5) = 2/3.
    assert expected == pytest.approx(2 / 3, abs=0.02)
    assert attack(members, nonmembers).auc == pytest.approx(expected, abs=0.003)


def test_the_losses_of_a_confident_model_are_not_too_small():
    members, nonmembers = losses(0, 100, 0.5), losses(1, 300, 1.0)
    small, usual = attack(members * 1e-7, nonmembers * 1e-7), attack(members, nonmembers)
    assert small.auc == pytest.approx(usual.auc)
    assert small.accuracy == pytest.approx(usual.accuracy)


def test_losses_are_capped():
    members, nonmembers = losses(0, 50), np.append(losses(1, 149), 100)
    capped = attack(members, nonmembers)
    assert attack(members, np.append(nonmembers[:-1], 1e5)) == capped


def test_unequal_sides_are_balanced():
    # Without class weights "never a member" would be right for 10 of 11 and wrong for each member.
    result = attack(1 + losses(0, 60, 0.5), losses(1, 600, 1.0))
    assert result.accuracy > 0.6


def test_tpr_counts_members_below_every_nonmember():
    # 100 non-members, half at loss 0 and half at 1: no threshold between members and the first
    # half admits at most one of them, so only the 30 members at -1 count: 30%.
    members = np.repeat([-1.0, 0.0], [30, 70])
    nonmembers = np.repeat([0.0, 1.0], [50, 50])
    # Folds fit slightly different lines; members at -1 still rank first in all.
    assert attack(members, nonmembers).tpr == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(("nonmembers", "given"), [(99, False), (100, True)])
def test_tpr_needs_a_hundred_nonmembers(nonmembers, given):
    assert (attack(losses(0, 100), losses(1, nonmembers)).tpr is not None) == given


@pytest.mark.parametrize(("members", "nonmembers"), [(4, 100), (100, 4), (0, 100)])
def test_too_few_samples_for_the_folds(members, nonmembers):
    assert mia_lr_loss(losses(0, members), losses(1, nonmembers)) is None


def test_deterministic_and_independent_of_the_global_generator():
    members, nonmembers = losses(0, 30), losses(1, 120)
    first = attack(members, nonmembers)
    np.random.seed(7)  # noqa: NPY002
    assert attack(members, nonmembers) == first


def test_judged_out_of_fold():
    # Both sides are equal, so what a fit sees lean one way, its held-out fold leans the other: out
    # of fold the AUC is below 0.5. Judged on what it was fitted on, it could not be.
    same = losses(0, 50)
    assert attack(same, same).auc < 0.47


def test_two_sided_gap():
    # |.6 - .5| and |.6 - .8|: a gold that leaks more is as far as one that leaks less.
    assert two_sided_gap(0.6, [0.5, 0.8]) == pytest.approx(0.15)
