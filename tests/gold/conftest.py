"""Fixtures: an empty cache."""

import pytest

from mubench._util.cache import Store


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "cache")
