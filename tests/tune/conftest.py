"""Fixtures: a method in a file, and a cache with the tiny task's models."""

import pytest

from tests.helpers.tuning import NOISY


@pytest.fixture
def noisy(tmp_path, monkeypatch, library):
    """Reference of a method whose best parameter is known; the tiny originals are cached."""
    monkeypatch.setenv("MUBENCH_CACHE", str(library.store.root))
    file = tmp_path / "noisy.py"
    file.write_text(NOISY)
    return f"{file}:Noisy"
