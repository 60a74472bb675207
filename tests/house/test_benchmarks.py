"""Benchmarks are run by hand only, so that what they import could go away unseen."""

from importlib import import_module

import pytest

from tests.helpers.places import ROOT

NAMES = sorted(path.stem for path in (ROOT / "tests" / "benchmarks").glob("test_*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported(name):
    import_module(f"tests.benchmarks.{name}")


def test_there_are_benchmarks():
    assert "test_ray" in NAMES
