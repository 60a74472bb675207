"""SCRUB, SCRUB+R and NegGrad+ against their equations in plain torch."""

import copy
import math

import pytest
import torch
from mubench_methods._scrub import Passes
from mubench_methods.neggrad_plus import NegGradPlus
from mubench_methods.scrub import Scrub
from mubench_methods.scrub_r import ScrubR
from torch.nn import functional as F

from tests.helpers.patterns import CLASSES, TRAIN, accuracy, weights
from tests.helpers.steps import assert_same_weights, stepped

PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "retain_share": 0.1}  # 30 samples: one batch


def cross_entropy(problem, model, samples):
    return F.cross_entropy(model(problem.normalise(samples.images)), samples.labels)


def divergence(problem, model, teacher, samples, temperature):
    images = problem.normalise(samples.images)
    p = (teacher(images).detach() / temperature).softmax(1)
    log_s = (model(images) / temperature).log_softmax(1)
    return temperature**2 * (p * (p.log() - log_s)).sum(1).mean()


def test_scrub_alternates_away_on_forget_and_towards_on_retain(make):
    passes = Passes(
        epochs=3, max_epochs=2, lr=0.01, alpha=0.3, gamma=0.7, temperature=2.0,
        forget_batch_size=32, **PLAIN,
    )  # fmt: skip
    method = Scrub(passes=passes)
    twin = make(method.requires)
    teacher = twin.original
    retain = twin.share(twin.retain, 0.1)

    def away(model):
        return -divergence(twin, model, teacher, twin.forget, 2.0)

    def towards(model):
        of_teacher = divergence(twin, model, teacher, retain, 2.0)
        return 0.3 * of_teacher + 0.7 * cross_entropy(twin, model, retain)

    steps = [away, towards, away, towards, towards]
    expected = stepped(teacher, *steps, lr=0.01)
    assert_same_weights(method.unlearn(make(method.requires)), expected, teacher)


def test_scrubs_rate_falls_tenfold_after_epochs_three_five_and_nine(make):
    rates = []
    problem = make({"forget", "retain"})
    trainer = problem.trainer(problem.original, lr=1.0)
    trainer.epoch = lambda *_, **__: rates.append(trainer.lr)
    problem.trainer = lambda *_, **__: trainer
    for _ in Passes(epochs=10, max_epochs=0, lr=1.0).students(problem):
        pass
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001])


class Shifts:
    """In place of SCRUB's passes: students that give D_f's class less and less, then more again."""

    @staticmethod
    def students(problem):
        model = problem.original
        bias = model.head.bias[1].item()
        for shift in (0, 1, 2, 3, 4, 5, 6, 1.5):
            with torch.no_grad():
                model.head.bias[1] = bias - shift
            yield model


def test_rewinding_returns_the_epoch_nearest_to_the_last_on_unseen_images(make):
    twin = make({"forget", "retain", "holdout"})
    unseen = twin.holdout[twin.holdout.labels == 1]
    found = [(accuracy(twin, x, twin.forget), weights(x)) for x in Shifts.students(twin)]
    reference = accuracy(twin, twin.original, unseen)
    least = min(abs(reached - reference) for reached, _ in found)
    best = [end for reached, end in found if abs(reached - reference) == least]
    unlearned = ScrubR(passes=Shifts()).unlearn(make({"forget", "retain", "holdout"}))
    assert torch.equal(weights(unlearned), best[-1])
    assert not torch.equal(weights(unlearned), found[-1][1])  # it went back


def test_neggrad_plus_falls_on_retain_and_climbs_on_forget(make):
    method = NegGradPlus(alpha=0.6, epochs=1, lr=0.01, clip=None, **PLAIN)
    twin = make(method.requires)
    retain = twin.share(twin.retain, 0.1)

    def loss(model):
        fall, climb = (cross_entropy(twin, model, x) for x in (retain, twin.forget))
        return 0.6 * fall - 0.4 * climb

    start = copy.deepcopy(twin.original)
    expected = stepped(start, loss, lr=0.01)
    problem = make(method.requires)
    assert_same_weights(method.unlearn(problem), expected, start)
    assert problem.meter.seen.backward == 50  # both sets, and nothing else
    assert problem.meter.seen.forward == 50


def test_neggrad_plus_ends_its_climb_at_the_clip(make):
    problem = make({"forget", "retain"})
    NegGradPlus(alpha=0.5, epochs=4, lr=0.02, retain_share=0.5).unlearn(problem)
    loss = cross_entropy(problem, problem.original, problem.forget)
    assert math.log(CLASSES) / 3 < loss < 3 * math.log(CLASSES)
    assert accuracy(problem, problem.original, TRAIN) > 0.6
