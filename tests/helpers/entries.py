"""An author's entry of the leaderboard, measured once in each process."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from mubench.method import scaffold
from mubench.record.again import Mark
from tests.helpers.commands import call
from tests.helpers.packages import install
from tests.helpers.tiny import TINY

HOME = Path("small/gentle-ascent")
FILE = "small/gentle-ascent/b-6-seed0"


@contextmanager
def at_work(base: Path) -> Iterator[Path]:
    """An author's folder: a small task and the new method installed, all cases submitted.

    Args:
        base: of this process's tests.
    """
    folder = _measured(base)
    with _inside(folder):
        yield folder


def copy_of_entry(author, tmp_path, monkeypatch):
    """A copy of the submission, to be spoiled."""
    monkeypatch.setenv("MUBENCH_CACHE", str(author / "cache"))
    monkeypatch.chdir(author)
    return shutil.copytree(author / "submission", tmp_path / "results")


def made_mark(record_sha256, differences=()):
    """A mark made by hand, of a record's file."""
    return Mark(
        record_sha256=record_sha256,
        chosen_by="a commit",
        harness_sha256="2" * 64,
        git_revision=None,
        device="a processor",
        threads=1,
        measured_at="2026-01-02T00:00:00+00:00",
        differences=differences,
    )


@cache
def _measured(base: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="author", dir=base))
    site = folder / "site"
    tasks = folder / "tasks"
    (tasks / "small_tasks").mkdir(parents=True)
    (tasks / "small_tasks/__init__.py").write_text("")
    text = TINY.replace('"tiny"', '"small"').replace("[6, 12]", "[6]")
    (tasks / "small_tasks/small.toml").write_text(text)
    (tasks / "pyproject.toml").write_text(
        '[project]\nname = "small-tasks"\nversion = "1.0"\n'
        '[project.entry-points."mubench.tasks"]\nsmall = "small_tasks"\n'
        '[tool.setuptools]\npackages = ["small_tasks"]\n'
    )
    install(tasks, site)
    scaffold.new_method("gentle-ascent", folder)
    install(folder / "gentle-ascent", site)
    with _inside(folder):
        shutil.copy("gentle-ascent/gentle_ascent.py", ".")
        done = call("run", "--method", "./gentle_ascent.py:GentleAscent", "--task", "small",
                    "--cases", "all")  # fmt: skip
        assert done.exit_code == 0, done.output
        done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small")
        assert done.exit_code == 0, done.output
        assert "leaderboard/results" in done.stderr
    return folder


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")
        patch.setenv("MUBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield
    # imported by its entry point: left there, its name would count as taken in other tests
    sys.modules.pop("gentle_ascent", None)
