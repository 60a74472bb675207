"""Fixtures: records of a small task."""

import pytest

from tests.helpers.lab import Lab, make_task


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def lab(tmp_path, task):
    return Lab(tmp_path / "results", task)
