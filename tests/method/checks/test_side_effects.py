"""Side effects: what code does to its process is noted and undone."""

import json
import os
import random
import sys
from pathlib import Path

import pytest
import torch

from mubench.method.checks.checks import run_checks
from mubench.method.checks.side_effects import SideEffects, watched, where
from tests.helpers.places import BAD_PLUGINS


def test_watching_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads(), torch.get_default_dtype(), torch.random.get_rng_state()
    list(run_checks(f"{BAD_PLUGINS / 'changes_settings.py'}:Bad"))
    after = torch.get_num_threads(), torch.get_default_dtype(), torch.random.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.iterdir())


def test_what_is_done_inside_is_noted_and_undone(tmp_path):
    with watched(frozenset()) as seen:
        sys.stdout.write("hello")
        Path("a").mkdir()
        Path("a/b").write_text("c")
        random.random()
        os.environ["NOT_HERE_BEFORE"] = "1"
    assert seen.printed == "hello"
    assert set(seen.written) == {"a", "a/b"}
    assert seen.changed == ["Python's random generator", "the environment"]
    assert "NOT_HERE_BEFORE" not in os.environ
    assert seen.connected == seen.spawned == seen.spied == []


def test_what_is_done_outside_is_not_noted(tmp_path):
    with watched(frozenset()) as seen:
        pass
    (tmp_path / "a").write_text("b")
    assert seen == SideEffects()


def test_an_error_inside_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), watched(frozenset()) as seen:
        os.chdir("/")
        raise KeyError
    assert seen.changed == ["the working folder"]
    assert Path.cwd() == tmp_path


def test_an_error_is_told_with_the_last_own_line():
    with pytest.raises(ValueError) as caught:
        json.loads("{")  # raises deep in the library
    text = f"JSONDecodeError: {caught.value}"
    place = f"test_side_effects.py:{caught.traceback[0].lineno + 1}"
    assert where(caught.value, frozenset({__file__})) == f"{text} ({place})"
    assert where(caught.value, frozenset()) == text
