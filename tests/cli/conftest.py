"""Fixtures: a folder to work in."""

import pytest

from tests.helpers.methods import PLUGIN
from tests.helpers.tiny import TINY


@pytest.fixture
def folder(tmp_path, monkeypatch, library):
    """A working folder with a task and a method; the tiny task's models are cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(library.store.root))
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path
