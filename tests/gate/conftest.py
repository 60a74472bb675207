"""Fixtures: a baseline of records, and an author's entry."""

import pytest

from tests.helpers.comparisons import ten_classes
from tests.helpers.entries import at_work, copy_of_entry


@pytest.fixture
def lab(tmp_path):
    return ten_classes(tmp_path / "baseline")


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    with at_work(tmp_path_factory.getbasetemp()) as folder:
        yield folder


@pytest.fixture
def entry(author, tmp_path, monkeypatch):
    return copy_of_entry(author, tmp_path, monkeypatch)
