"""The baselines, and what holds for every built-in method."""

import math

import pytest
import torch
from mubench_methods.amun import AMUN
from mubench_methods.bad_teacher import BadTeacher
from mubench_methods.boundary_shrink import BoundaryShrink
from mubench_methods.cf_k import CFk
from mubench_methods.delete import Delete
from mubench_methods.eu_k import EUk
from mubench_methods.finetune import FineTune
from mubench_methods.gradient_ascent import GradientAscent
from mubench_methods.l1_sparse import L1Sparse
from mubench_methods.lotus import LoTUS
from mubench_methods.neggrad import NegGrad
from mubench_methods.neggrad_plus import NegGradPlus
from mubench_methods.oracle import Oracle
from mubench_methods.original import Original
from mubench_methods.random_label import RandomLabel
from mubench_methods.random_quota import RandomQuota
from mubench_methods.regun import ReGUn
from mubench_methods.retrain import Retrain
from mubench_methods.salun import SalUn
from mubench_methods.scrub import Scrub
from mubench_methods.scrub_r import ScrubR
from mubench_methods.ssd import SSD
from torch.nn import functional as F

from mubench.method.problem import AccessError
from tests.helpers.patterns import CLASSES, QUICK_TMU, TEST, TRAIN, accuracy, build, weights

METHODS = [
    Original(),
    Retrain(),
    FineTune(),
    NegGrad(),
    RandomLabel(),
    BadTeacher(),
    QUICK_TMU,
    RandomQuota(),
    Oracle(),
    AMUN(),
    BoundaryShrink(),
    CFk(),
    Delete(),
    EUk(),
    GradientAscent(),
    L1Sparse(),
    LoTUS(),
    NegGradPlus(),
    ReGUn(),
    SalUn(),
    Scrub(),
    ScrubR(),
    SSD(),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_runs_within_its_access_and_returns_the_architecture(make, method):
    problem = make(method.requires)
    unlearned = method.unlearn(problem)
    expected = build(0).state_dict()
    returned = unlearned.state_dict()
    assert {k: v.shape for k, v in returned.items()} == {k: v.shape for k, v in expected.items()}
    assert weights(unlearned).isfinite().all()
    assert not unlearned.training
    assert accuracy(problem, unlearned, TEST) > 0.55  # chance is 0.25


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_same_seed_same_bits(make, method):
    first, second = (weights(method.unlearn(make(method.requires))) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", METHODS[3:], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("kind", ["one sample", "whole class", "random"])
def test_every_kind_of_forget_set(make, method, kind):
    forget = {
        "one sample": torch.tensor([7]),
        "whole class": (TRAIN.labels == 2).nonzero().squeeze(1),
        "random": torch.arange(0, len(TRAIN), 9),
    }[kind]
    unlearned = method.unlearn(make(method.requires, forget))
    assert weights(unlearned).isfinite().all()


def test_seeds_differ(make):
    first, second = (weights(FineTune().unlearn(make({"retain"}, seed=s))) for s in (0, 1))
    assert not torch.equal(first, second)


def test_original_is_untouched(make, trained):
    assert torch.equal(weights(Original().unlearn(make({"forget"}))), weights(trained))


@pytest.mark.parametrize("method", [FineTune(), Retrain()])
def test_never_reads_forget(make, method):
    problem = make(method.requires)
    method.unlearn(problem)
    with pytest.raises(AccessError, match="forget"):
        _ = problem.forget


def test_retrain_starts_anew_and_learns_retain(make, trained):
    problem = make({"forget", "retain"})
    gold = Retrain().unlearn(problem)
    assert accuracy(problem, gold, problem.retain) > 0.9
    assert accuracy(problem, gold, problem.forget) < 0.9  # of a pattern nobody can tell for sure
    kernel, others = gold.body[1][0].weight, trained.body[1][0].weight
    assert F.cosine_similarity(kernel.flatten(), others.flatten(), dim=0) < 0.5


def test_finetune_keeps_what_it_does_not_see(make):
    problem = make({"forget", "retain"})
    unlearned = FineTune().unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) > 0.8
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_neggrad_lowers_forget_accuracy_until_it_stops(make):
    problem = make({"forget", "retain"})
    unlearned = NegGrad(epochs=10, lr=0.05, forget_weight=3).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) <= 0.1
    assert accuracy(problem, unlearned, problem.retain) > 0.6
    assert problem.meter.seen.backward < 10 * len(TRAIN)


def test_neggrad_climbs_no_further_than_the_clip(make):
    problem = make({"forget", "retain"})
    ceiling = 2 * math.log(CLASSES)
    unlearned = NegGrad(epochs=10, lr=0.05, stop_accuracy=0).unlearn(problem)
    loss = F.cross_entropy(problem.logits(unlearned, problem.forget), problem.forget.labels)
    assert loss < 4 * ceiling


def test_random_label_lowers_forget_accuracy(make):
    problem = make({"forget", "retain"})
    unlearned = RandomLabel(epochs=10).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) < 0.4
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_bad_teacher_makes_forget_unsure_and_keeps_retain(make):
    problem = make({"forget", "retain"})
    before = problem.logits(problem.original, problem.forget).softmax(1).amax(1).mean()
    student = BadTeacher(epochs=10, lr=1e-3, batch_size=32).unlearn(problem)
    after = problem.logits(student, problem.forget).softmax(1).amax(1).mean()
    assert after < before - 0.2
    assert accuracy(problem, student, problem.retain) > 0.85


def test_bad_teacher_teaches_nothing_new_on_retain(make):
    """With nothing of D_f in reach of the loss the student would stay: its target is its start."""
    problem = make({"forget", "retain"}, torch.tensor([0]))
    start = problem.logits(problem.original, problem.retain).softmax(1)
    student = BadTeacher().unlearn(problem)
    moved = (problem.logits(student, problem.retain).softmax(1) - start).abs().mean()
    assert moved < 0.05
