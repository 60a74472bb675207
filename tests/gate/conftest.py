"""Fixtures: a baseline of records, and an author's entry."""

import pytest

from tests.helpers.comparisons import ten_classes


@pytest.fixture
def lab(tmp_path):
    return ten_classes(tmp_path / "baseline")
