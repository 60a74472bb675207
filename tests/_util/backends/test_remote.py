"""Entries behind a URL: an object is written at once, and the manifest is the last one."""

import importlib
import json
import sys

import pytest

from mubench._util.backends import remote
from mubench._util.backends.manifest import MANIFEST, Damaged, Entry
from mubench._util.backends.remote import Objects
from mubench._util.cache import Store
from mubench._util.errors import UserError
from tests.helpers.object_stores import s3_environment

ALPHA, BETA = (Entry({"a": content * 100}, {}) for content in (b"alpha", b"beta"))
ENTRY = "models/k"


@pytest.fixture(params=["memory", "s3"])
def objects(request, tmp_path):
    """A cache in this process's memory, or on a server that speaks S3."""
    if request.param == "memory":
        return Objects(f"memory://{tmp_path.name}")
    return Objects(request.getfixturevalue("url"))


def listed(objects):
    """The objects of the entry, without the random names."""
    return sorted(path.rpartition("/")[2] for path in objects._find(ENTRY))


def path_of(objects, name):
    """The path of an object of the entry, for its file system."""
    return next(path for path in objects._find(ENTRY) if path.endswith(f"/{name}"))


def test_an_entry_is_there_once_its_manifest_is(objects, monkeypatch):
    call, steps = Objects._call, []

    def watched(self, name, path, *values, **options):
        if name == "pipe_file":
            steps.append((path.rpartition("/")[2], objects.load(ENTRY)))
        return call(self, name, path, *values, **options)

    monkeypatch.setattr(Objects, "_call", watched)
    assert objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    assert steps == [("a", None), (MANIFEST, None)]
    assert objects.load(ENTRY) == ALPHA
    assert objects.holds(ENTRY)


def test_a_writer_who_was_overtaken_leaves_no_objects(objects, monkeypatch):
    call = Objects._call

    def overtaken(self, name, path, *values, **options):
        if name == "pipe_file" and path.endswith(MANIFEST):
            monkeypatch.undo()
            assert objects.publish(ENTRY, BETA.sealed(), replace=False)
        return call(self, name, path, *values, **options)

    url = objects.url
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "_call", overtaken)
        patch.setattr(monkeypatch, "undo", patch.undo)
        assert not objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    assert (objects.url, objects.load(ENTRY)) == (url, BETA)
    assert listed(objects) == ["a", MANIFEST]


def test_what_was_replaced_leaves_no_objects(objects):
    for entry in (ALPHA, BETA):
        objects.publish(ENTRY, entry.sealed(), replace=True)
    assert objects.load(ENTRY) == BETA
    assert listed(objects) == ["a", MANIFEST]
    objects.remove(ENTRY)
    objects.remove(ENTRY)
    assert listed(objects) == []


def test_an_entry_that_is_replaced_while_it_is_read_is_read_again(objects, monkeypatch):
    objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    call, reads = Objects._call, []

    def replaced(self, name, path, *values, **options):
        content = call(self, name, path, *values, **options)
        if name == "cat_file":
            reads.append(path)
            if len(reads) == 1:
                objects.publish(ENTRY, BETA.sealed(), replace=True)
        return content

    monkeypatch.setattr(Objects, "_call", replaced)
    assert objects.load(ENTRY) == BETA


@pytest.mark.parametrize("victim", ["a", MANIFEST])
@pytest.mark.parametrize("how", ["other", "empty", "delete"])
def test_damage_is_named_and_the_entry_removed(objects, victim, how, capsys):
    objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    files, path = objects._root[0], path_of(objects, victim)
    if how == "delete":
        files.rm_file(path)
    else:
        files.pipe_file(path, b"" if how == "empty" else b"other")
    store = Store(objects.url)
    assert store.read("models", "k") is None
    if (victim, how) != (MANIFEST, "delete"):  # then there is no entry any more
        assert f"{objects.url}/{ENTRY}/{victim}" in capsys.readouterr().err
    assert store.write("models", "k", {"a": b"new"}, {}).content("a") == b"new"
    assert store.read("models", "k").content("a") == b"new"


def test_leftovers_go_once_they_are_old(objects, monkeypatch):
    objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    objects._call("pipe_file", f"{ENTRY}/0123/a", b"half")
    objects.prepare(ENTRY)
    assert listed(objects) == ["a", "a", MANIFEST]
    monkeypatch.setattr(remote, "LEFTOVER_SECONDS", -60)
    objects.prepare(ENTRY)
    assert listed(objects) == ["a", MANIFEST]
    assert objects.load(ENTRY) == ALPHA
    objects.prepare("models/other")


def test_a_manifest_without_its_name_is_damage(objects):
    objects.publish(ENTRY, ALPHA.sealed(), replace=False)
    path = path_of(objects, MANIFEST)
    files = objects._root[0]
    stored = json.loads(files.cat_file(path))
    del stored[remote.FOLDER]
    files.pipe_file(path, json.dumps(stored).encode())
    with pytest.raises(Damaged, match=r"missing file .*models/k/a"):
        objects.load(ENTRY)


def test_an_address_that_nobody_answers_is_named(monkeypatch):
    for name, value in s3_environment().items():
        monkeypatch.setenv(name, value)
    store = Store("s3://nobody/x")
    message = r"s3://nobody/x cannot be used \(.*check the address"
    with pytest.raises(UserError, match=message):
        store.write("models", "k", {"a": b"alpha"}, {})
    # before the training, and not after it
    with pytest.raises(UserError, match=message), store.lock("models", "k"):
        raise AssertionError


@pytest.mark.parametrize(
    ("url", "module", "message"),
    [
        ("s3://golds", "s3fs", r"the cache s3://golds needs: pip install 'mubench\[s3\]'"),
        ("gs://golds", "gcsfs", r"the cache gs://golds needs: pip install 'fsspec\[gs\]'"),
        ("golds://x", None, "the cache golds://x: .*golds"),
    ],
)
def test_what_is_missing_for_a_url_is_said(url, module, message, monkeypatch):
    if module:
        monkeypatch.setitem(sys.modules, module, None)
        registry = importlib.import_module("fsspec.registry")
        monkeypatch.delitem(registry._registry, url.partition(":")[0], raising=False)
    with pytest.raises(UserError, match=message):
        Objects(url).holds(ENTRY)
