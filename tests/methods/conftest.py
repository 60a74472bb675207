"""Fixtures: a network that has learned the patterns, and problems on it."""

import copy

import pytest
import torch
from torch import nn

from mubench.method.problem import Meter, Problem
from mubench.training.loop import fit
from tests.helpers.patterns import CLASSES, HOLDOUT, PIPELINE, RECIPE, TRAIN, build


@pytest.fixture(scope="session")
def trained() -> nn.Module:
    model = build(0)
    fit(model, TRAIN, RECIPE, PIPELINE, seed=0)
    return model


@pytest.fixture
def make(trained):
    """Makes a problem: D_f is `forget`, positions in TRAIN; by default 20 of class 1."""

    def make_problem(requires, forget=None, seed=0, **access) -> Problem:
        if forget is None:
            forget = torch.arange(len(TRAIN))[TRAIN.labels == 1][:20]
        kept = torch.ones(len(TRAIN), dtype=torch.bool)
        kept[forget] = False
        sets = {"forget": TRAIN[forget], "retain": TRAIN[kept], "holdout": HOLDOUT} | access
        sets.setdefault("gold_labels", torch.arange(len(forget)) % 4 != 0)
        meter = Meter()
        problem = Problem(
            original=copy.deepcopy(trained),
            fresh=build,
            access=sets,
            requires=frozenset(requires),
            num_classes=CLASSES,
            recipe=RECIPE,
            pipeline=PIPELINE,
            seed=seed,
            meter=meter,
        )
        problem.meter = meter
        return problem

    return make_problem
