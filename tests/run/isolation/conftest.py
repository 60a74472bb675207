"""Fixtures: one isolation for all tests here, and methods measured in it."""

import time
from pathlib import Path

import pytest

from mubench.method.presets import Choice
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from mubench.run.isolation.host import Isolation
from tests.helpers.processes import TOKEN, tokened


@pytest.fixture(scope="package")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="package")
def isolation(tiny_store, results, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv(TOKEN, "1")
        isolation = Isolation([tiny_store.root, results], memory_bytes=3_000_000_000)
    with isolation:
        isolation.describe("original")  # waits until all its processes are there
        yield isolation
    time.sleep(0.1)
    assert not tokened()


@pytest.fixture(scope="package")
def run(library, isolation, results):
    """Measures a method in a process of its own, on the tiny task."""

    def run_it(reference, seed=0, **settings):
        (method,) = isolation.describe(reference, [Choice(settings)])
        cell = Cell(library.loaded.cases[0], method, None, seed)
        folder = ResultsFolder(results)
        return measure(library, cell, folder, again=True, isolation=isolation)

    return run_it
