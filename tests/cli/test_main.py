"""The command itself: help of every command, and `show`."""

import errno
import os

import pytest

from mubench.cli.main import HINTS, main
from tests.helpers.commands import call
from tests.helpers.lab import Lab, make_task, spec_text
from tests.helpers.packages import bring_tasks
from tests.helpers.strangers import install
from tests.helpers.tiny import TINY


def test_every_command_has_help_with_examples():
    def walk(command, path):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, [*path, name])
        else:
            result = call(*path, "-h")
            assert result.exit_code == 0
            assert "Examples:" in result.output, path

    walk(main, [])


def test_show_tells_parameters_and_access(folder):
    result = call("show", "./mine.py:MyMethod")
    assert result.exit_code == 0
    for words in ("Does a thing", "access: forget", "float > 0", "step size", "inner.depth"):
        assert words in result.stdout


REFUSALS = {
    "a file for a folder of records": (
        ["leaderboard", "--page", "file/page.md"], "a file stands where a folder should be",
    ),
    "a file for a folder of plots": (
        ["plot", "--out", "file/plots"], "a file stands where a folder should be",
    ),
    "a folder for a page": (["leaderboard", "--page", "results"], None),
}  # fmt: skip


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Lab(tmp_path / "results", make_task(classes=("a",)), num_peers=0).add("tried", "a-50")
    (tmp_path / "made.toml").write_text(spec_text(classes=("a",)))
    (tmp_path / "file").touch()
    return ["--results", "results", "--task", "made.toml"]


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_the_system_refuses_is_one_line_with_the_path(results, kind):
    arguments, hint = REFUSALS[kind]
    done = call(*arguments, *(results if arguments[0] != "gold" else []))
    assert done.exit_code == 2, done.output
    assert hint is None or hint in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ELOOP])
def test_each_refusal_says_what_to_do(results, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "results/page.md")

    monkeypatch.setattr("mubench.cli.leaderboard.write_atomic", refuse)
    done = call("leaderboard", *results)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last == f"Error: results/page.md: {os.strerror(number)}; {HINTS[number]}"


def test_an_error_of_the_system_that_names_nothing_is_a_bug(results, monkeypatch):
    def fail(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("mubench.cli.leaderboard.write_atomic", fail)
    done = call("leaderboard", *results)
    assert isinstance(done.exception, OSError)


def test_show_tells_the_ledger():
    result = call("show", "scrub")
    assert result.exit_code == 0
    for words in ("arXiv:2302.09880", "meghdadk/SCRUB at 98ffb11", "made for forgetting"):
        assert words in result.stdout
    lines = result.stdout.partition("ledger")[2].partition("parameter ")[0].splitlines()
    assert len(lines) <= 22  # of which five claims take ten


def test_show_names_a_broken_ledger(tmp_path, monkeypatch):
    file = install(tmp_path, monkeypatch, "paper = 1\n")
    result = call("show", "gentle")
    assert result.exit_code == 2
    assert f"{file} has" in result.stderr


def test_show_tells_a_tasks_protocol(folder):
    for reference, task_id in (("tiny.toml", "tiny@1"), ("digits-subset", "digits-subset@1")):
        result = call("show", reference)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"{task_id}\n")
        for words in ("recipe", "golds", "budget", "of retraining", "epochs of training"):
            assert words in " ".join(result.stdout.split())
    assert call("show", "digits-subset@1").stdout == result.stdout


def test_a_broken_task_is_a_line_beside_the_list(tmp_path, monkeypatch):
    working = call("list", "tasks").stdout
    unknown = TINY.replace('"allcnn"\nwidth = 8', '"resnet81"').replace('"tiny"', '"unknown"')
    broken = {"unknown.toml": unknown.encode(), "broken.toml": b"\xff", "._x.toml": b"\xff"}
    bring_tasks(tmp_path, "odd_tasks", broken)
    monkeypatch.syspath_prepend(tmp_path)
    done = call("list", "tasks")
    assert (done.exit_code, done.stdout) == (0, working)
    assert [line.partition(": ")[2][:30] for line in done.stderr.splitlines()] == [
        "task broken of odd_tasks is not"[:30], "task unknown: unknown model 're"[:30],
    ]  # fmt: skip
    assert call("show", "unknown").exit_code == 2
