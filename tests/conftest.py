"""Fixtures: a cache of the tests' own, a task that trains in a second, its models."""

from pathlib import Path

import pytest
import torch

from mubench.golds import LoadedTask, missing, train
from mubench.store import Store
from mubench.task import TaskSpec, parse_task

TINY = """
name = "tiny"
version = 1
[data]
name = "synthetic"
kind = "synthetic"
image_size = 8
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
name = "allcnn"
width = 8
[train]
epochs = 3
batch_size = 32
optimizer = "sgd"
lr = 0.1
nesterov = true
weight_decay = 5e-4
schedule = "one-cycle"
[forget]
kind = "subset"
classes = ["b", "d"]
sizes = [6, 12]
[measure]
golds = 2
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache; all tests of a process share one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("MUBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_task() -> TaskSpec:
    return parse_task(TINY, "tiny.toml")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny(tiny_task: TaskSpec, tiny_store: Store) -> LoadedTask:
    """The tiny task, its models trained for the first case."""
    loaded = LoadedTask(tiny_task, torch.device("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the worker processes, which would take longer to start
    for ref in missing(loaded, tiny_store, loaded.cases[:1]):
        train(loaded, tiny_store, ref)
    torch.set_num_threads(threads)
    return loaded
