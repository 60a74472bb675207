"""Fixtures: a cache of the tests' own, a task that trains in a second, its models."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mubench._util.cache import Store
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.gold.train import train
from mubench.task.spec import Task, parse_task
from tests.helpers.entries import at_work, copy_of_entry
from tests.helpers.tiny import SHARDED, TINY


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache; all tests of a process share one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("MUBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_task() -> Task:
    return parse_task(TINY, "tiny.toml")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny(tiny_task: Task, tiny_store: Store) -> LoadedTask:
    """The tiny task, its models trained for the first case."""
    loaded = LoadedTask(tiny_task, torch.device("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the worker processes, which would take longer to start
    library = GoldLibrary(loaded, tiny_store)
    for ref in library.missing(loaded.cases[:1]):
        train(library, ref)
    torch.set_num_threads(threads)
    return loaded


@pytest.fixture(scope="session")
def library(tiny: LoadedTask, tiny_store: Store) -> GoldLibrary:
    """The models of the tiny task: those of its first case are cached."""
    return GoldLibrary(tiny, tiny_store)


@pytest.fixture(scope="session")
def sharded() -> LoadedTask:
    """The tiny task with an ensemble as its original, nothing trained."""
    return LoadedTask(parse_task(SHARDED, "sharded.toml"), torch.device("cpu"))


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An author's working folder, with a method that was measured and submitted there."""
    with at_work(tmp_path_factory.getbasetemp()) as folder:
        yield folder


@pytest.fixture
def entry(author: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the author's submission, to be spoiled."""
    return copy_of_entry(author, tmp_path, monkeypatch)
