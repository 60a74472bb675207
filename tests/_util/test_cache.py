"""The cache: entries that are whole or not there, made once by two processes."""

import errno
import multiprocessing
import time
from pathlib import Path

import pytest
from filelock import FileLock

from mubench._util.cache import Store, cache_root


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_what_is_written_is_read(store):
    store.write("models", "k", {"a": b"alpha", "b": b"beta"}, {"seed": 1})
    entry = store.read("models", "k")
    assert (entry.content("a"), entry.content("b")) == (b"alpha", b"beta")
    assert entry.provenance == {"seed": 1}
    assert store.holds("models", "k")


def test_nothing_there_is_none(store):
    assert store.read("models", "k") is None
    assert not store.holds("models", "k")


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("victim", ["a", "manifest.json"])
@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_damage_is_named_and_the_entry_removed(store, capsys, victim, how):
    path = store.write("models", "k", {"a": b"alpha" * 100}, {"seed": 1}).path(victim)
    if how == "flip":
        _flip(path)
    elif how == "truncate":
        path.write_bytes(path.read_bytes()[:7])
    else:
        path.unlink()
    assert store.read("models", "k") is None
    message = capsys.readouterr().err
    assert "k" in message
    assert victim in message or how == "delete"
    assert not path.parent.exists()
    store.write("models", "k", {"a": b"new"}, {})
    assert store.read("models", "k").content("a") == b"new"


def test_a_crash_while_writing_leaves_no_entry_and_is_swept_up(store, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.rename", crash)
    with pytest.raises(KeyboardInterrupt):
        store.write("models", "k", {"a": b"alpha"}, {})
    monkeypatch.undo()
    assert store.read("models", "k") is None
    assert not store.holds("models", "k")
    assert not list((store.root / "models").glob("*.tmp"))
    killed = store.root / "models/.k.0123.tmp"  # what a process leaves that cannot clean up
    killed.mkdir()
    with store.lock("models", "k"):
        assert not list((store.root / "models").glob("*.tmp"))


def _make_once(root, made):
    store = Store(root)
    with store.lock("models", "k"):
        if store.read("models", "k") is None:
            time.sleep(0.3)
            made.put(1)
            store.write("models", "k", {"a": b"x"}, {})


def test_two_processes_make_an_entry_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    made = context.Queue()
    workers = [context.Process(target=_make_once, args=(tmp_path, made)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert made.get(timeout=5) == 1
    assert made.empty()


def test_a_complete_entry_is_read_without_a_lock_that_cannot_be_made(store, monkeypatch):
    """As in a read-only cache. Root may write anywhere, so the lock is what refuses here."""
    store.write("models", "k", {"a": b"alpha"}, {})

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", "k.lock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with store.lock("models", "k"):
        assert store.read("models", "k").content("a") == b"alpha"
    with pytest.raises(OSError, match="Read-only"), store.lock("models", "other"):
        pass


@pytest.mark.parametrize("key", ["..", ".", "", "a/b", "../models", ".hidden", "a b", "a\0"])
def test_a_key_is_never_a_path(store, key):
    store.write("models", "k", {"a": b"alpha"}, {})
    for call in (store.read, store.remove, store.holds, store.damage):
        with pytest.raises(AssertionError):
            call("models", key)
        with pytest.raises(AssertionError):
            call(key, "k")
    with pytest.raises(AssertionError):
        store.write("models", key, {"a": b"x"}, {})
    assert store.read("models", "k").content("a") == b"alpha"


def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch):
    store.write("models", "k", {"a": b"alpha"}, {})

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        store.write("models", "k", {"a": b"beta"}, {})
    monkeypatch.undo()
    assert store.read("models", "k").content("a") == b"alpha"
    assert [path.name for path in (store.root / "models").iterdir()] == ["k"]


def test_a_tilde_is_the_users_home(monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", "~/models")
    assert cache_root() == Path.home() / "models"
