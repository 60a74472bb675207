"""Manifests: what is one, and the bytes that it vouches for."""

import json

import pytest

from mubench._util.backends.manifest import MANIFEST, Damaged, Entry, assemble, parse_manifest

ENTRY = Entry({"a": b"alpha", "b": b"beta"}, {"seed": 1})


def read_all(files):
    return assemble("models/k", files[MANIFEST], files.__getitem__)


def test_what_is_sealed_is_assembled_and_the_manifest_comes_last():
    files = ENTRY.sealed()
    assert list(files) == ["a", "b", MANIFEST]
    assert read_all(files) == ENTRY


@pytest.mark.parametrize(
    "edit",
    [
        lambda stored: stored["files"].update(a="0" * 64),
        lambda stored: stored["provenance"].update(seed=2),
        lambda stored: stored.pop("files"),
        lambda stored: stored.update(sha256=None),
    ],
)
def test_an_edited_manifest_is_none(edit):
    files = ENTRY.sealed()
    stored = json.loads(files[MANIFEST])
    edit(stored)
    assert parse_manifest(json.dumps(stored).encode()) is None
    with pytest.raises(Damaged, match=r"damaged file models/k/manifest\.json"):
        read_all(files | {MANIFEST: json.dumps(stored).encode()})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_what_is_no_json_of_a_manifest_is_none(content):
    assert parse_manifest(content) is None


def test_the_bytes_that_are_handed_out_are_those_that_were_checked():
    """A file is read once. A second look could find another file."""
    files, reads = ENTRY.sealed(), []

    def read(name):
        reads.append(name)
        return files[name] if reads.count(name) == 1 else b"other"

    assert assemble("models/k", files[MANIFEST], read) == ENTRY
    assert sorted(reads) == ["a", "b"]


def test_a_damaged_file_and_a_missing_one_are_named():
    files = ENTRY.sealed()
    with pytest.raises(Damaged, match="damaged file models/k/a"):
        read_all(files | {"a": b"Alpha"})

    def gone(name):
        raise FileNotFoundError(name)

    with pytest.raises(Damaged, match="missing file models/k/a"):
        assemble("models/k", files[MANIFEST], gone)
