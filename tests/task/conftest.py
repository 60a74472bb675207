"""Fixtures: an empty place for data."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_root(tmp_path, monkeypatch) -> Path:
    """An empty `MUBENCH_DATA`, and a cache of the test's own."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("MUBENCH_DATA", str(root))
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "cache"))
    return root
