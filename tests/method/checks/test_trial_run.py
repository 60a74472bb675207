"""The problem of the checks bites, and a run on it is made once."""

import pytest
import torch

from mubench.method.checks.trial_run import (
    CASES,
    PIPELINE,
    RECIPE,
    Trial,
    stage,
)
from mubench.method.discovery import load_method
from mubench.training import loop


def test_the_problem_bites():
    train = stage().train
    right = loop.predict(stage().original, train, PIPELINE).argmax(1).eq(train.labels)
    assert right.float().mean() > 0.75
    held_out = stage().holdout
    right = loop.predict(stage().original, held_out, PIPELINE).argmax(1).eq(held_out.labels)
    assert 0.5 < right.float().mean() < 0.9
    sizes = {name: len(positions(train.labels)) for name, positions in CASES.items()}
    assert sizes["one"] == 1
    assert sizes["ragged"] % RECIPE.batch_size == 1
    assert (len(train) - sizes["ragged"]) % RECIPE.batch_size == 1
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        stage().architecture.fresh(0)(torch.zeros(1, 3, 4, 4))


def test_a_run_is_made_once():
    trial = Trial(load_method("original").cls())
    assert trial.run() is trial.run()
    assert trial.run() is not trial.run(repeat=1)
