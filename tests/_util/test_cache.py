"""The cache: entries that are whole or not there, whoever writes at the same time."""

import errno
from pathlib import Path

import pytest

from mubench._util import cache
from mubench._util.cache import Store, cache_root
from mubench._util.errors import UserError
from tests.helpers.hosts import at_once, die_with_a_lock, make_once, write_and_read


@pytest.fixture
def store(root):
    return Store(root)


@pytest.fixture
def on_disk(tmp_path):
    return Store(tmp_path / "cache")


def test_what_is_written_is_read(store):
    store.write("models", "k", {"a": b"alpha", "b": b"beta"}, {"seed": 1})
    entry = store.read("models", "k")
    assert (entry.content("a"), entry.content("b")) == (b"alpha", b"beta")
    assert entry.provenance == {"seed": 1}
    assert store.holds("models", "k")
    assert store.damage("models", "k") is None


def test_nothing_there_is_none(store):
    assert store.read("models", "k") is None
    assert not store.holds("models", "k")
    assert "no entry" in store.damage("models", "k")
    store.remove("models", "k")


def test_the_first_writer_wins_and_the_second_gets_what_is_there(store):
    store.write("models", "k", {"a": b"alpha"}, {"host": 1})
    entry = store.write("models", "k", {"a": b"beta"}, {"host": 2})
    assert (entry.content("a"), entry.provenance) == (b"alpha", {"host": 1})
    assert store.read("models", "k").content("a") == b"alpha"


def test_an_entry_is_made_once_and_again_after_a_failure_or_damage(on_disk):
    def make():
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("lost")
        return {"a": b"%d" % len(calls)}, {"seed": 1}

    calls = []
    with pytest.raises(KeyError):
        on_disk.made("models", "k", make)
    assert on_disk.made("models", "k", make).content("a") == b"2"
    assert on_disk.made("models", "k", make).provenance == {"seed": 1}
    assert len(calls) == 2
    (on_disk.root / "models/k/a").write_bytes(b"damage")
    assert on_disk.made("models", "k", make).content("a") == b"3"


def test_an_entry_is_replaced_where_that_is_asked_for(store):
    for content in (b"one", b"two", b"three"):
        store.write("checkpoints", "k", {"a": content}, {}, replace=True)
    assert store.read("checkpoints", "k").content("a") == b"three"
    store.remove("checkpoints", "k")
    assert store.read("checkpoints", "k") is None


@pytest.mark.slow
@pytest.mark.parametrize("how", ["write", "remove", "replace"])
def test_two_hosts_write_and_read_200_times_and_every_entry_is_whole(root, how):
    """The hosts have equal process ids and no locks; each is two processes."""
    arguments = [(root, host, seed, 50, how) for seed, host in enumerate(["one", "two"] * 2)]
    for seen, said in at_once(write_and_read, arguments):
        assert seen > 15
        assert said == []
    if isinstance(root, Path):
        assert not list(root.rglob("*.tmp"))


def test_two_hosts_make_an_entry_once(tmp_path):
    assert sorted(at_once(make_once, [(tmp_path, "one"), (tmp_path, "two")])) == [False, True]


def test_the_lock_of_another_host_that_died_is_taken_over_after_a_while(
    on_disk, monkeypatch, capsys
):
    """That a process with its id is alive here is no sign of life."""
    monkeypatch.setattr(cache, "LEASE_SECONDS", 0.6)
    die_with_a_lock(on_disk.root, "elsewhere", 0.6)
    with on_disk.lock("models", "k", "gold 1"):
        pass
    assert "waiting for another process to finish gold 1" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_the_lock_of_a_process_of_this_host_that_died_is_taken_over_at_once(
    on_disk, monkeypatch, capsys
):
    monkeypatch.setattr(cache, "LEASE_SECONDS", 100_000)
    die_with_a_lock(on_disk.root, None, 100_000)
    with on_disk.lock("models", "k"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [b"", b"12"])
def test_a_broken_lock_is_taken_over(on_disk, monkeypatch, content):
    """Such as a full disk leaves."""
    monkeypatch.setattr(cache, "LEASE_SECONDS", 0.3)
    path = on_disk.root / "models/.k.lease"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with on_disk.lock("models", "k"):
        assert path.stat().st_size > 2


def test_a_lock_that_was_lost_ends_without_an_error(on_disk):
    with on_disk.lock("models", "k"):
        (on_disk.root / "models/.k.lease").unlink()
    with on_disk.lock("models", "k"):
        pass


def test_a_complete_cache_is_read_without_any_write(on_disk, monkeypatch):
    """As in a read-only cache. Root may write anywhere, so what writes is what refuses here."""
    on_disk.write("models", "k", {"a": b"alpha"}, {})

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", "k")

    for name in ("os.mkdir", "os.rename", "os.replace", "os.unlink", "os.utime"):
        monkeypatch.setattr(name, refuse)
    assert on_disk.read("models", "k").content("a") == b"alpha"
    assert on_disk.damage("models", "k") is None
    with pytest.raises(OSError, match="Read-only"):
        on_disk.write("models", "other", {"a": b"x"}, {})


@pytest.mark.parametrize("key", ["..", ".", "", "a/b", "../models", ".hidden", "a b", "a\0"])
def test_a_key_is_never_a_path(on_disk, key):
    store = on_disk
    store.write("models", "k", {"a": b"alpha"}, {})
    for call in (store.read, store.remove, store.holds, store.damage):
        with pytest.raises(AssertionError):
            call("models", key)
        with pytest.raises(AssertionError):
            call(key, "k")
    with pytest.raises(AssertionError):
        store.write("models", key, {"a": b"x"}, {})
    with pytest.raises(AssertionError), store.lock("models", key):
        pass
    assert store.read("models", "k").content("a") == b"alpha"


def test_a_tilde_is_the_users_home(monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", "~/models")
    assert cache_root() == Path.home() / "models"


def test_without_a_home_the_cache_has_to_be_named(monkeypatch):
    monkeypatch.delenv("HOME")
    for name in ("MUBENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Store().root.is_absolute()  # the system's list of users knows the home

    def unknown(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(UserError, match="no home folder; set MUBENCH_CACHE"):
        Store()
    monkeypatch.setenv("MUBENCH_CACHE", "/tmp/golds")
    assert Store().root == Path("/tmp/golds")


def test_a_url_is_the_cache_of_models_and_data_stay_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("MUBENCH_CACHE", "s3://golds/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Store().root == "s3://golds/mine"
    assert cache_root() == tmp_path / "mubench"
