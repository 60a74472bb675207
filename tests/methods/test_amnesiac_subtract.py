"""Amnesiac unlearning by subtraction: the log is taken back, then D_r repairs."""

import pytest
import torch
from mubench_methods.amnesiac_subtract import AmnesiacSubtract

from mubench.method.problem import Problem
from mubench.training.updates import fit_logged
from tests.helpers.patterns import PIPELINE, RECIPE, TRAIN, build

FORGET = torch.arange(80, 100)  # of class 1


def log_of(is_chosen_N):
    (updates,) = fit_logged(build(0), TRAIN, is_chosen_N[None], RECIPE, PIPELINE, seed=0)
    return updates


@pytest.fixture(scope="module")
def updates():
    return log_of(torch.isin(torch.arange(len(TRAIN)), FORGET))


@pytest.fixture
def taken_back(make, updates, monkeypatch):
    """Runs the method without its repair; the model as the repair gets it, and how it repairs."""

    def run(**parameters):
        told = {}

        def repair(_, model, samples, **how):
            told.update(how, samples=samples)

        monkeypatch.setattr(Problem, "fine_tune", repair)
        monkeypatch.setattr(Problem, "train_like_original", repair)
        problem = make(AmnesiacSubtract.requires, FORGET, update_log=updates.sums)
        model = AmnesiacSubtract(**parameters).unlearn(problem)
        assert told.pop("samples") is problem.retain
        return model, told

    return run


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_it_takes_back_the_log_before_it_repairs(trained, updates, taken_back, scale):
    model, told = taken_back(scale=scale)
    assert told == {"epochs": 2}
    for name, value in trained.named_parameters():
        expected = value - scale * updates.sums[name]
        assert torch.equal(dict(model.named_parameters())[name], expected)
    for name, value in trained.named_buffers():
        assert torch.equal(dict(model.named_buffers())[name], value), "statistics stay"


def test_without_repair_it_is_the_sum_of_the_other_steps(updates, taken_back):
    """The start, and what the steps without a sample of D_f have changed."""
    model, told = taken_back(**AmnesiacSubtract.presets["paper"])
    assert told == {"epochs": 10, "lr": 1e-3, "optimizer": "adamw", "batch_size": 64}
    everything = log_of(torch.ones(len(TRAIN), dtype=torch.bool))
    assert 10 < updates.num_steps < everything.num_steps == 100
    for name, start in build(0).named_parameters():
        others = everything.sums[name] - updates.sums[name]
        got = dict(model.named_parameters())[name].detach()
        assert got == pytest.approx((start + others).detach(), abs=1e-4)


@pytest.mark.parametrize("schedule", ["original", "constant"])
def test_repair_brings_back_what_was_learned(make, updates, schedule):
    problem = make(AmnesiacSubtract.requires, FORGET, update_log=updates.sums)
    method = AmnesiacSubtract(scale=1.0, schedule=schedule, epochs=10, batch_size=32)
    unlearned = method.unlearn(problem)
    assert problem.correct(unlearned, problem.retain).float().mean() > 0.8
    assert problem.meter.seen.backward == 10 * 300
