"""Fixtures: a network that has learned the patterns, and problems on it."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from mubench.method.meter import Meter
from mubench.method.problem import Problem
from mubench.training.loop import fit
from tests.helpers.patterns import PIPELINE, RECIPE, TRAIN, Patterns, build
from tests.helpers.problems import make_problem


@pytest.fixture(scope="session")
def trained() -> nn.Module:
    model = build(0)
    fit(model, TRAIN, RECIPE, PIPELINE, seed=0)
    return model


class Trained:
    """In place of a library of models: one network is the original."""

    def __init__(self, model: nn.Module):
        self._model = model

    @property
    def loaded(self) -> Any:
        return SimpleNamespace(originals=["the one"])

    def model(self, ref: str) -> nn.Module:
        return copy.deepcopy(self._model)

    def training_log(self, ref: str) -> tuple[()]:
        return ()


@pytest.fixture
def make(trained):
    """Makes a problem: D_f is `forget`, positions in TRAIN; by default 20 of class 1."""

    def make_one(requires, forget=None, seed=0, **access) -> Problem:
        meter = Meter()
        problem = make_problem(
            Patterns(), *requires, library=Trained(trained), meter=meter, seed=seed, case=forget,
            **access,
        )  # fmt: skip
        problem.meter = meter
        return problem

    return make_one
