"""Fixtures: records of a task with several sizes."""

import pytest

from tests.helpers.boards import three_sizes


@pytest.fixture
def lab(tmp_path):
    return three_sizes(tmp_path / "results")
