"""Entries on a disk: damage, full disks, killed writers, and who was first."""

import errno
import os
import resource
import time
from pathlib import Path

import pytest

from mubench._util.backends import disk
from mubench._util.backends.disk import Folders
from mubench._util.backends.manifest import MANIFEST, Damaged, Entry
from mubench._util.cache import Store

ALPHA, BETA = (Entry({"a": content * 100}, {}) for content in (b"alpha", b"beta"))
ENTRY = "models/k"


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "cache")


def spoil(path, how):
    if how == "flip":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "truncate":
        path.write_bytes(path.read_bytes()[:7])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    if how == "folder":
        path.mkdir()


def names(folders):
    return sorted(path.name for path in (folders.root / "models").iterdir())


@pytest.mark.parametrize("victim", ["a", MANIFEST])
@pytest.mark.parametrize("how", ["flip", "truncate", "empty", "delete", "folder"])
def test_damage_is_named_and_the_entry_removed(folders, capsys, victim, how):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    spoil(folders.root / ENTRY / victim, how)
    store = Store(folders.root)
    assert "k" in store.damage("models", "k")
    assert store.read("models", "k") is None
    message = capsys.readouterr().err
    assert "k" in message
    assert victim in message or "incomplete entry" in message
    assert names(folders) == []
    assert store.write("models", "k", {"a": b"new"}, {}).content("a") == b"new"
    assert store.read("models", "k").content("a") == b"new"


@pytest.mark.parametrize("stray", ["file", "empty folder", "folder"])
def test_what_is_no_entry_gives_way_to_one(folders, capsys, stray):
    path = folders.root / ENTRY
    path.parent.mkdir(parents=True)
    if stray == "file":
        path.write_bytes(b"")
    else:
        path.mkdir()
        if stray == "folder":
            (path / "a").write_bytes(b"half")
    store = Store(folders.root)
    store.write("models", "k", {"a": b"alpha"}, {})
    assert store.read("models", "k").content("a") == b"alpha"
    assert names(folders) == ["k"]


def test_a_whole_entry_that_came_meanwhile_is_not_discarded(folders):
    """As if another process had replaced the damaged entry after it was found to be damaged."""
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    folders.discard_damaged(ENTRY)
    assert folders.load(ENTRY) == ALPHA
    folders.discard_damaged("models/other")
    assert names(folders) == ["k"]


def test_an_entry_that_is_replaced_while_it_is_read_is_read_again(folders, monkeypatch):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    read_bytes, reads = Path.read_bytes, []

    def read(path):
        content = read_bytes(path)
        reads.append(path.name)
        if len(reads) == 1:  # the manifest was read, the file was not
            folders.publish(ENTRY, BETA.sealed(), replace=True)
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    assert folders.load(ENTRY) == BETA
    assert reads == [MANIFEST, "a", MANIFEST, "a"]


def test_an_entry_that_is_removed_while_it_is_read_is_not_there(folders, monkeypatch):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    read_bytes = Path.read_bytes

    def read(path):
        content = read_bytes(path)
        folders.remove(ENTRY)
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    assert folders.load(ENTRY) is None


def test_damage_is_damage_however_often_it_is_read(folders):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    spoil(folders.root / ENTRY / "a", "flip")
    for _ in range(2):
        with pytest.raises(Damaged, match="damaged file"):
            folders.load(ENTRY)


def test_an_entry_is_out_of_sight_before_it_is_deleted(folders, monkeypatch):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)

    def look(path, **_):
        assert path.name.endswith(".tmp")
        assert not folders.holds(ENTRY)

    monkeypatch.setattr(disk.shutil, "rmtree", look)
    folders.remove(ENTRY)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_leaves_nothing_half_written(folders, monkeypatch, number):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)

    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    for entry, replace in ((ENTRY, True), ("models/other", False)):
        with pytest.raises(OSError, match=os.strerror(number)):
            folders.publish(entry, BETA.sealed(), replace)
    monkeypatch.undo()
    assert folders.load(ENTRY) == ALPHA
    assert names(folders) == ["k"]


def test_a_disk_that_takes_no_more_in_the_middle_of_a_file_leaves_nothing(folders):
    """The system itself refuses here, after half of the file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folders.publish(ENTRY, Entry({"a": b"x" * 100_000}, {}).sealed(), replace=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(folders) == []


def test_a_crash_before_the_name_is_given_leaves_no_entry(folders, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    monkeypatch.undo()
    assert folders.load(ENTRY) is None
    assert names(folders) == []


def test_leftovers_go_once_they_are_old_and_live_writers_are_left_alone(folders):
    folders.publish(ENTRY, ALPHA.sealed(), replace=False)
    room = folders.root / "models"
    now = time.time()
    for name, age in {"young": 60, "old": 2 * disk.LEFTOVER_SECONDS, "ahead": -3600}.items():
        leftover = room / f".other.{name}.tmp"
        leftover.mkdir()
        (leftover / "a").write_bytes(b"half")
        os.utime(leftover, (now - age, now - age))
    os.utime(room / "k", (0, 0))
    folders.prepare(ENTRY)
    assert names(folders) == [".other.ahead.tmp", ".other.young.tmp", "k"]


def test_names_of_half_written_entries_say_the_host_and_never_repeat(folders, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "node-7.cluster/x")
    monkeypatch.setattr("os.getpid", lambda: 7)
    seen = {disk.temporary_beside(folders.root / ENTRY).name for _ in range(100)}
    assert len(seen) == 100
    assert all(name.startswith(".k.node-7-cluster-x-") for name in seen)
