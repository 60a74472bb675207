"""The controls, and the last step that they share with TMU."""

from dataclasses import replace

import pytest
import torch
from mubench_methods import _last_step
from mubench_methods._last_step import LAST_STEP
from mubench_methods._restart import RESTART, Restart
from mubench_methods.neggrad_quota import NegGradQuota
from mubench_methods.oracle import Oracle
from mubench_methods.oracle_soft import OracleSoft
from mubench_methods.random_quota import RandomQuota
from mubench_methods.tmu import TMU
from torch.nn import functional as F

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


SHAKEN = {"schedule": "constant", "freeze_batch_norm": False}


@pytest.mark.parametrize(
    "how",
    [
        *({"targets": kind} | SHAKEN for kind in ("uniform", "runner-up", "soft", "ascent")),
        {"targets": "nudge", "lr": 0.05},
        {"targets": "nudge"} | SHAKEN,
    ],
    ids=lambda how: "-".join(str(value) for value in how.values()),
)
def test_last_step_follows_the_marks(make, how):
    problem = make(ALL)
    is_hard = torch.arange(20) % 4 == 0
    step = replace(LAST_STEP, weight=0.8, retain_share=1.0, epochs=8, visits=80, most=None, **how)
    logits = problem.logits(problem.original, problem.forget)
    unlearned = step.apply(problem, problem.original, is_hard, logits)
    right = problem.correct(unlearned, problem.forget)
    assert right[~is_hard].float().mean() > 0.85
    assert right[is_hard].float().mean() < 0.25
    assert accuracy(problem, unlearned, problem.retain) > 0.9
    ends_early = problem.meter.seen.backward < 8 * (10 * 20 + 300)
    assert ends_early is (step.schedule == "constant")  # once marks are followed


@pytest.mark.parametrize(("most", "visits"), [(None, 20), (3.0, 20), (0.7, 5), (0.5, 4), (0.05, 2)])
def test_a_large_forget_set_is_met_less_often(make, most, visits):
    """Of |D| = 320, D_f has 20, so a visit with its replay is an eighth of |D|."""
    problem = make({"forget", "retain"})
    assert (len(problem.forget), len(problem.retain)) == (20, 300)
    assert replace(LAST_STEP, most=most, visits=20).num_visits(problem) == visits


def test_last_step_changes_nothing_where_the_marks_are_followed(make, trained):
    problem = make(ALL)
    logits = problem.logits(problem.original, problem.forget)
    is_hard = logits.argmax(1) != problem.forget.labels
    unlearned = LAST_STEP.apply(problem, problem.original, is_hard, logits)
    assert torch.equal(weights(unlearned), weights(trained))
    assert problem.meter.seen.backward == 0


def test_is_gone(make):
    problem = make(ALL, torch.cat([(TRAIN.labels == 2).nonzero().squeeze(1), torch.tensor([0])]))
    assert _last_step.is_gone(problem).tolist() == [True] * PER_CLASS + [False]


def test_controls_and_tmu_differ_in_marks_alone():
    for method in (TMU(), RandomQuota(), Oracle(), OracleSoft()):
        assert method.last_step == LAST_STEP
        assert method.restart == RESTART
    assert TMU().kappa == RandomQuota().kappa
    for control in (RandomQuota, Oracle):
        for part in ("restart", "last_step"):
            assert control.presets["paper"][part] == TMU.presets["paper"][part]


def test_oracle_follows_the_golds(make):
    labels = torch.arange(20) % 5 != 0
    problem = make(Oracle.requires, gold_labels=labels)
    step = replace(LAST_STEP, epochs=4, visits=40, retain_share=1.0, weight=0.9)
    unlearned = Oracle(last_step=step).unlearn(problem)
    assert problem.reports["easy"].tolist() == labels.tolist()
    agreement = problem.correct(unlearned, problem.forget).eq(labels).float().mean()
    assert agreement > 0.85


def test_soft_oracle_gives_out_what_the_golds_do(make):
    target = torch.tensor([0.1, 0.6, 0.3, 0.0]).repeat(20, 1)
    target[:5] = torch.tensor([0.7, 0.1, 0.1, 0.1])
    problem = make(OracleSoft.requires, gold_probabilities=target)
    step = replace(LAST_STEP, epochs=6, visits=60, most=None, retain_share=1.0)
    unlearned = OracleSoft(restart=Restart(epochs=0, erase=False), last_step=step).unlearn(problem)
    assert problem.reports["easy"].tolist() == [False] * 5 + [True] * 15
    given = problem.logits(unlearned, problem.forget).softmax(1)
    before = F.one_hot(problem.forget.labels, CLASSES)
    assert (given - target).abs().mean() < 0.5 * (before - target).abs().mean()


def test_neggrad_quota_stops_at_held_out_accuracy(make):
    forget = (TRAIN.labels == 1).nonzero().squeeze(1)[:60]
    problem = make(NegGradQuota.requires, forget)
    held_out = HOLDOUT[HOLDOUT.labels == 1]
    aim = accuracy(problem, problem.original, held_out)
    unlearned = NegGradQuota(lr=0.002, visits=100).unlearn(problem)
    assert aim - 0.25 < accuracy(problem, unlearned, problem.forget) <= aim
    assert NegGradQuota.control


def test_random_quota_marks_what_holdout_accuracy_says(make):
    forget = torch.arange(0, len(TRAIN), 2)  # classes 0 and 2, 80 of each: whole classes
    forget = forget[: len(forget) // 2]  # 40 of each
    problem = make(RandomQuota.requires, forget)
    correct = problem.correct(problem.original, HOLDOUT)
    RandomQuota(kappa=0).unlearn(problem)
    is_hard = ~torch.from_numpy(problem.reports["easy"])
    for label in (0, 2):
        held_out_accuracy = correct[HOLDOUT.labels == label].float().mean().item()
        marked = is_hard[problem.forget.labels == label].sum().item()
        assert abs(marked - (1 - held_out_accuracy) * 40) <= 1
    errors = sum((~correct[HOLDOUT.labels == label]).float().mean().item() for label in (0, 2))
    assert 0 < is_hard.sum() == round(40 * errors) < 80


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
