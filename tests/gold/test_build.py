"""Training what is missing, several at once."""

import pytest
import torch

from mubench.gold.build import build, estimate_seconds, num_workers
from mubench.gold.cached import missing
from mubench.gold.loaded import LoadedTask
from mubench.training import loop


def test_diverging_recipes_are_one_error(tiny_task, empty):
    recipe = tiny_task.train.model_copy(update={"lr": 1e9, "schedule": "constant"})
    task = tiny_task.model_copy(update={"train": recipe})
    loaded = LoadedTask(task, torch.device("cpu"))
    with pytest.raises(loop.Diverged):
        build(loaded, empty, [loaded.original])
    assert missing(loaded, empty, ()) == [loaded.original]


def test_as_many_train_at_once_as_there_are_cores_and_models(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    cpu = torch.device("cpu")
    assert [num_workers(cpu, count) for count in (0, 1, 3, 9)] == [1, 1, 3, 4]
    assert num_workers(torch.device("cuda"), 9) == 1


def test_an_estimate_is_of_rounds_of_trainings(tiny, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(loop, "step_seconds", lambda *_: [1.0, 2.0, 9.0])
    steps = 8 * 3  # 240 samples in batches of 32, 3 epochs
    assert [estimate_seconds(tiny, count) for count in (0, 4, 5)] == [0, 2 * steps, 4 * steps]
