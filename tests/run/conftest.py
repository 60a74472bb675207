"""Fixtures: a method measured in this process."""

import pytest

from mubench.method.discovery import MethodClass
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from tests.helpers.methods import method_class


@pytest.fixture
def run(library, tmp_path):
    def run_it(unlearn, requires=("forget",), **options):
        method = unlearn if isinstance(unlearn, MethodClass) else method_class(unlearn, requires)
        seed = options.pop("seed", 0)
        cell = Cell(library.loaded.cases[0], method, configure(method, {}), seed)
        return measure(library, cell, ResultsFolder(tmp_path / "results"), **options)

    return run_it
