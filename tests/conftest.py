"""Fixtures: a cache of the tests' own, a task that trains in a second, its models."""

from pathlib import Path

import pytest
import torch

from mubench._util.cache import Store
from mubench.gold.cached import missing
from mubench.gold.loaded import LoadedTask
from mubench.gold.train import train
from mubench.task.spec import TaskSpec, parse_task
from tests.helpers.tiny import TINY


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
