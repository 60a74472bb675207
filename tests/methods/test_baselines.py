"""The baselines, and what holds for every built-in method."""

import math
from dataclasses import replace

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
from mubench_methods.neggrad_quota import NegGradQuota
from mubench_methods.oracle import Oracle
from mubench_methods.oracle_soft import OracleSoft
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

from mubench.method.discovery import available_methods, load_method
from mubench.method.parameters import configure, resolved_parameters
from mubench.method.problem import AccessError
from tests.helpers.patterns import (
    CLASSES,
    LEARNED_TMU,
    QUICK_TMU,
    TEST,
    TRAIN,
    accuracy,
    build,
    weights,
)

METHODS = [
    Original(),
    Retrain(),
    FineTune(),
    NegGrad(),
    RandomLabel(),
    BadTeacher(),
    QUICK_TMU,
    LEARNED_TMU,
    RandomQuota(),
    Oracle(),
    OracleSoft(),
    NegGradQuota(),
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


def configured(name, preset, **settings):
    method = load_method(name)
    given = method.cls.presets[preset] if preset else {}
    return configure(method, {**given, **settings})


@pytest.mark.parametrize("name", sorted(available_methods()))
def test_presets_are_settings_that_the_method_takes(name):
    for preset in getattr(load_method(name).cls, "presets", {}):
        configured(name, preset)


def test_presets_of_the_papers():
    """Each value by name, as the paper has it: a default may change, and the preset must not."""
    paper = {name: resolved_parameters(configured(name, "paper")) for name in PAPER}
    for name, expected in PAPER.items():
        for parameter, value in expected.items():
            group, _, inner = parameter.rpartition(".")
            given = paper[name][group][inner] if group else paper[name][parameter]
            assert given == value, (name, parameter)


PAPER = {
    "finetune": {"schedule": "constant", "lr": 0.01, "epochs": 1, "weight_decay": 5e-4},
    "neggrad": {"stop_accuracy": 0.106, "retain_share": 1.0, "visits": 40, "forget_weight": 1.0},
    "random-label": {"stop_accuracy": 0.0, "retain_share": 1.0, "visits": 40},
    "bad-teacher": {"epochs": 1, "lr": 1e-4, "batch_size": 256, "retain_share": 0.3},
    "tmu": {
        "restart.erase": False,
        "restart.epochs": 0,
        "features": ["nf", "af", "cf"],
        "looks.neighbours": 5,  # "the 5 nearest"
        "looks.attack": "pgd",
        "looks.attack_eps": 4.0,  # of 255
        "looks.curriculum": "paper",  # 30% of D, and D_test
        "looks.young_share": 0.3,
        "looks.young_epochs": 2,  # "one or two"
        "classifier": "mlp",  # 64 and 32
        "twin.size": "eq3",
        "twin.pool": 1,
        "quota": "threshold",
        "threshold": 0.5,
        "last_step.targets": "uniform",
    },
    "random-quota": {"kappa": 0.0, "restart.epochs": 0, "last_step.targets": "uniform"},
    "oracle": {"restart.erase": False, "restart.epochs": 0, "last_step.targets": "uniform"},
}


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


def test_finetune_at_a_small_constant_rate_keeps_what_it_does_not_see(make):
    problem = make({"forget", "retain"})
    unlearned = configured("finetune", "paper").unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) > 0.8
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_finetune_runs_the_original_s_schedule(make, monkeypatch):
    problem, given = make({"retain"}), []
    monkeypatch.setattr(problem, "train_like_original", lambda *a, **k: given.append((a, k)))
    FineTune(peak=2.0).unlearn(problem)
    expected = {"epochs": 2, "peak": 2.0}  # a fifth of ten
    assert given == [((problem.original, problem.retain), expected)]


@pytest.mark.parametrize("preset", ["", "paper"])
def test_neggrad_lowers_forget_accuracy_until_it_stops(make, preset):
    problem = make({"forget", "retain"})
    method = configured("neggrad", preset, visits=200, lr=0.02, epochs=4)
    unlearned = method.unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) <= method.stop_accuracy + 1e-6
    assert accuracy(problem, unlearned, problem.retain) > 0.6
    assert problem.meter.seen.backward < 4 * 50 * 20  # the visits that it may take


def test_neggrad_climbs_no_further_than_the_clip(make):
    problem = make({"forget", "retain"})
    ceiling = 2 * math.log(CLASSES)
    unlearned = NegGrad(visits=100, epochs=4, lr=0.05, stop_accuracy=0).unlearn(problem)
    loss = F.cross_entropy(problem.logits(unlearned, problem.forget), problem.forget.labels)
    assert loss < 4 * ceiling


def test_random_label_lowers_forget_accuracy_to_the_paper_s_end(make):
    problem = make({"forget", "retain"})
    unlearned = configured("random-label", "paper", visits=100, epochs=10).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) == 0
    assert accuracy(problem, unlearned, problem.retain) > 0.75


@pytest.mark.parametrize("method", [NegGrad(lr=1e-9), RandomLabel(lr=1e-9)])
def test_forget_is_visited_ten_times_beside_a_share_of_retain(make, method):
    problem = make(method.requires)
    method.unlearn(problem)
    assert problem.meter.seen.backward == 2 * (5 * 20 + 5 * 20)
    more = replace(method, retain_share=0.5)
    more.unlearn(problem)
    assert problem.meter.seen.backward == 2 * (5 * 20 + 5 * 20) + 2 * (5 * 20 + 150)


def test_training_ends_within_a_pass_where_accuracy_is_low_enough(make):
    problem = make({"forget", "retain"})
    RandomLabel(stop_accuracy=1.0, epochs=1).unlearn(problem)
    assert problem.meter.seen.backward == 32  # a batch


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
