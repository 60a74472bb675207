"""The controls, and the last step that they share with TMU."""

from dataclasses import replace

import pytest
import torch
from mubench_methods import _relabel
from mubench_methods._relabel import LAST_STEP
from mubench_methods.oracle import Oracle
from mubench_methods.random_quota import RandomQuota
from mubench_methods.tmu import TMU

from mubench.task.data import Samples
from tests.helpers.patterns import (
    ALL,
    CLASSES,
    HOLDOUT,
    PER_CLASS,
    QUICK_TMU,
    TRAIN,
    accuracy,
    weights,
)


def test_wrong_labels_are_never_the_truth_and_uniform(make):
    problem = make({"forget"})
    truth = torch.arange(CLASSES).repeat(3000)
    wrong = problem.wrong_labels(truth)
    assert not (wrong == truth).any()
    counts = ((wrong - truth) % CLASSES).bincount(minlength=CLASSES)[1:]
    assert counts.float().div(len(truth)).sub(1 / (CLASSES - 1)).abs().max() < 0.02


@pytest.mark.parametrize("mechanism", ["relabel", "neggrad"])
def test_last_step_follows_the_marks(make, mechanism):
    problem = make(ALL)
    is_hard = torch.arange(20) % 4 == 0
    step = replace(LAST_STEP, mechanism=mechanism, retain_share=1.0, epochs=4, visits=40)
    unlearned = step.apply(problem, problem.original, is_hard)
    right = problem.correct(unlearned, problem.forget)
    assert right[~is_hard].float().mean() > 0.85
    assert right[is_hard].float().mean() < 0.25
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_last_step_with_nothing_hard_changes_nothing(make, trained):
    problem = make(ALL)
    unlearned = LAST_STEP.apply(problem, problem.original, torch.zeros(20, dtype=torch.bool))
    assert torch.equal(weights(unlearned), weights(trained))
    assert problem.meter.seen.forward == 0


def test_is_gone(make):
    problem = make(ALL, torch.cat([(TRAIN.labels == 2).nonzero().squeeze(1), torch.tensor([0])]))
    assert _relabel.is_gone(problem).tolist() == [True] * PER_CLASS + [False]


def test_controls_and_tmu_share_the_last_step():
    assert TMU().last_step == RandomQuota().last_step == Oracle().last_step == LAST_STEP


def test_oracle_follows_the_golds(make):
    labels = torch.arange(20) % 5 != 0
    problem = make(Oracle.requires, gold_labels=labels)
    step = replace(LAST_STEP, epochs=4, visits=40)
    unlearned = Oracle(last_step=step).unlearn(problem)
    assert problem.reports["easy"].tolist() == labels.tolist()
    agreement = problem.correct(unlearned, problem.forget).eq(labels).float().mean()
    assert agreement > 0.85


def test_random_quota_marks_what_holdout_accuracy_says(make):
    forget = torch.arange(0, len(TRAIN), 2)  # classes 0 and 2, 80 of each: whole classes
    forget = forget[: len(forget) // 2]  # 40 of each
    problem = make(RandomQuota.requires, forget)
    correct = problem.correct(problem.original, HOLDOUT)
    RandomQuota().unlearn(problem)
    is_hard = ~torch.from_numpy(problem.reports["easy"])
    for label in (0, 2):
        held_out_accuracy = correct[HOLDOUT.labels == label].float().mean().item()
        marked = is_hard[problem.forget.labels == label].sum().item()
        assert marked == round((1 - held_out_accuracy) * 40)
    assert 0 < is_hard.sum() < 80


def test_random_quota_does_not_look_at_the_samples(make):
    """Other images in the same places get the same marks."""
    noise = Samples(torch.randint_like(TRAIN.images[:20], 256), TRAIN.labels[1].repeat(20))
    first, second = make(RandomQuota.requires), make(RandomQuota.requires, forget=None)
    second._access["forget"] = noise
    for problem in (first, second):
        RandomQuota().unlearn(problem)
    assert first.reports["easy"].tolist() == second.reports["easy"].tolist()


@pytest.mark.parametrize("method", [RandomQuota(), QUICK_TMU])
def test_a_class_without_retain_data_is_hard(make, method):
    problem = make(method.requires, (TRAIN.labels == 2).nonzero().squeeze(1))
    unlearned = method.unlearn(problem)
    assert not problem.reports["easy"].any()
    assert accuracy(problem, unlearned, problem.forget) < 0.4
