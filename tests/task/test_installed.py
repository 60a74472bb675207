"""The tasks that are installed: what is broken breaks only what asks for it."""

import json
import sys

import pytest

from mubench._util.errors import UserError
from mubench._util.files import HARNESS
from mubench.task.installed import installed_tasks, load_task, read_installed, task_files
from tests.helpers.packages import bring_tasks
from tests.helpers.tiny import TINY

LOCK = HARNESS.parent / "tasks" / "lock.json"


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Installs a package of tasks for the length of a test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield lambda package, **files: bring_tasks(
        tmp_path, package, {f"{name}.toml": content for name, content in files.items()}
    )
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_unknown_task_gets_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'cifar10-subset'"):
        load_task("cifar10-subest")


def test_a_version_that_is_not_installed_is_refused():
    assert load_task("digits-subset@1").version == 1
    with pytest.raises(UserError, match="is at version 1, not 7"):
        load_task("digits-subset@7")


def test_published_tasks_never_change():
    lock = json.loads(LOCK.read_text())
    tasks = {task.id: task.spec_sha for task in installed_tasks()}
    changed = [name for name, sha in lock.items() if tasks.get(name, sha) != sha]
    assert not changed, f"{changed} changed after publication: give the task another version"
    unlocked = tasks.keys() - lock.keys()
    assert not unlocked, f"add {unlocked} to tasks/lock.json: " + json.dumps(tasks, indent=1)


@pytest.mark.parametrize("name", task_files()[0])
def test_every_builtin_task_is_valid_and_described(name):
    task = load_task(name)
    assert task.name == name
    assert task.description
    assert task.num_cases >= 1


BROKEN = {
    "undecodable": b"name = '\xff'",
    "another-schema": TINY.replace("[measure]", "[measures]").encode(),
    "not-toml": b"<html>",
    "deep": b"a = " + b"[" * 2000,
    "another-name": TINY.encode(),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_task_breaks_only_what_asks_for_it(bring, kind):
    working = {task.id for task in installed_tasks()}
    bring("strange_tasks", tiny=TINY.encode(), **{kind: BROKEN[kind]})
    tasks, (line,) = read_installed()
    assert {task.id for task in tasks} == {*working, "tiny@1"}
    assert line.startswith(f"task {kind} of strange_tasks") and "\n" not in line
    assert load_task("tiny").id == "tiny@1"
    with pytest.raises(UserError, match=f"task {kind} of strange_tasks"):
        load_task(kind)


def test_files_that_a_system_puts_beside_others_are_no_tasks(bring):
    before = read_installed()
    folder = bring("strange_tasks", **{"._tiny": b"\x00\x05\x16\x07", ".hidden": b"x"})
    (folder / "notes.txt").write_bytes(b"\xff")
    assert read_installed() == before


def test_a_folder_or_a_broken_link_is_told(bring):
    folder = bring("strange_tasks")
    (folder / "afolder.toml").mkdir()
    (folder / "alink.toml").symlink_to("nowhere")
    assert [line.partition(" of ")[0] for line in read_installed()[1]] == [
        "there is no file task afolder", "there is no file task alink",
    ]  # fmt: skip


def test_a_package_that_cannot_be_imported_is_told(bring):
    working = installed_tasks()
    folder = bring("strange_tasks", tiny=TINY.encode())
    (folder / "__init__.py").write_text("1 / 0")
    tasks, lines = read_installed()
    assert tasks == working
    assert lines == ["tasks of strange_tasks cannot be read: ZeroDivisionError: division by zero"]
    with pytest.raises(UserError, match=r"unknown task 'tiny'.*tasks of strange_tasks cannot be"):
        load_task("tiny")


def test_a_name_in_two_packages_is_refused(bring):
    bring("one_tasks", tiny=TINY.encode())
    bring("two_tasks", tiny=TINY.encode())
    assert "tiny@1" not in [task.id for task in installed_tasks()]
    with pytest.raises(UserError, match="in one_tasks and two_tasks: uninstall one"):
        load_task("tiny")


def test_a_file_is_a_task(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + TINY.encode())
    assert load_task(str(tmp_path / "mine.toml")).id == "tiny@1"
    for name in ("no.toml", "nu\0l.toml"):
        with pytest.raises(UserError, match="there is no file"):
            load_task(name)
