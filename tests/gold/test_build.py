"""Training what is missing, several at once."""

import pickle

import pytest
import torch

from mubench.gold.build import TrainJob, build, estimate_seconds
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.training import loop


def test_diverging_recipes_are_one_error(tiny_task, empty):
    recipe = tiny_task.train.model_copy(update={"lr": 1e9, "schedule": "constant"})
    task = tiny_task.model_copy(update={"train": recipe})
    loaded = LoadedTask(task, torch.device("cpu"))
    library = GoldLibrary(loaded, empty)
    with pytest.raises(loop.Diverged):
        build(library, [loaded.original])
    assert library.missing(()) == [loaded.original]


def test_a_job_can_be_pickled_and_trains_what_is_not_there(library, empty):
    loaded = library.loaded
    ref = loaded.golds(loaded.cases[0])[1]
    job = TrainJob(loaded.task, empty.root, "cpu", ref.seed, ref.case)
    there = pickle.loads(pickle.dumps(job))
    assert there == job
    own = GoldLibrary(loaded, empty)
    with loop.threads(1):
        assert there() > 0
    assert own.is_ready(ref)
    weights = [lib.model_entry(ref).content("weights.safetensors") for lib in (own, library)]
    assert weights[0] == weights[1]


def test_an_estimate_is_of_rounds_of_trainings(tiny, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(loop, "step_seconds", lambda *_: [1.0, 2.0, 9.0])
    steps = 8 * 3  # 240 samples in batches of 32, 3 epochs
    assert [estimate_seconds(tiny, count) for count in (0, 4, 5)] == [0, 2 * steps, 4 * steps]
