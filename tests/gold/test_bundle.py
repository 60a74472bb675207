"""Bundles of golds: export, import and what is refused."""

import io
import json
import zipfile
from contextlib import nullcontext
from hashlib import sha256

import numpy as np
import pytest
import safetensors.torch
import torch

from mubench._util.errors import DoesNotHold
from mubench._util.hashing import digest
from mubench.gold import bundle as bundles
from mubench.gold.bundle import export_bundle, import_bundle
from mubench.gold.library import GoldLibrary
from tests.helpers.stores import copy_of, keys


def test_a_bundle_is_enough_to_score_with(library, empty, tmp_path):
    tiny = library.loaded
    path = tmp_path / "golds.zip"
    size = export_bundle(library, tiny.cases[:1], path)
    assert size == path.stat().st_size
    assert import_bundle(empty, path) == (1, 3)
    imported = GoldLibrary(tiny, empty)
    assert imported.missing(tiny.cases[:1]) == []
    ref = tiny.golds(tiny.cases[0])[0]
    assert not empty.holds("models", ref.key)
    for start in (ref, tiny.original(tiny.cases[0], seed=0)):
        taken = imported.cached_readout(start, tiny.cases[0])
        assert taken
        assert taken.content == library.readout(start, tiny.cases[0]).content


def test_a_bundle_of_what_is_not_cached_is_refused(library, tmp_path):
    with pytest.raises(ValueError, match=r"not cached: .*gold 1 of d-6.*mubench gold build"):
        export_bundle(library, library.loaded.cases, tmp_path / "golds.zip")


def test_a_readout_that_does_not_say_its_data_is_of_an_installed_task(library, empty, files):
    """As those were that mubench made before readouts said so."""
    readout = name_of(files, "readout.npz")
    manifest = readout.replace("readout.npz", "manifest.json")
    older = json.loads(files[manifest])
    del older["provenance"]["data"], older["provenance"]["holdout_share"]
    with pytest.raises(DoesNotHold, match="another model than it says"):
        import_bundle(empty, zipped(empty.root.parent, files | {manifest: sealed(older)}))
    key = digest({"model": older["provenance"]["model"], "name": "digits", "holdout_share": 0.5})
    moved = {
        name.replace(readout.split("/")[1], key): sealed(older) if name == manifest else content
        for name, content in files.items()
        if readout.split("/")[1] in name
    }
    assert import_bundle(empty, zipped(empty.root.parent, moved)) == (0, 1)


@pytest.fixture
def files(library, tmp_path):
    """The files of a good bundle: name to content."""
    export_bundle(library, library.loaded.cases[:1], tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def name_of(files, ending):
    return next(name for name in files if name.endswith(ending))


def zipped(folder, files, **options):
    path = folder / "bad.zip"
    pairs = files.items() if isinstance(files, dict) else files
    with zipfile.ZipFile(path, "w", **options) as bundle:
        for name, content in pairs:
            bundle.writestr(name, content)
    return path


def sealed(manifest):
    """A manifest with a checksum of its own that fits, as a forger would write it."""
    text = json.dumps([manifest["files"], manifest["provenance"]], sort_keys=True)
    return json.dumps(manifest | {"sha256": sha256(text.encode()).hexdigest()}).encode()


def with_entry(files, ending, content=None, provenance=None, without=(), listed=None):
    """The files with one entry changed and its checksums made to fit."""
    name = name_of(files, ending)
    folder = name.rpartition("/")[0]
    manifest = json.loads(files[f"{folder}/manifest.json"])
    content = files[name] if content is None else content
    manifest["files"] = {ending: sha256(content).hexdigest()}
    manifest["provenance"] |= provenance or {}
    for key in without:
        del manifest["provenance"][key]
    manifest["files"] = manifest["files"] if listed is None else listed
    return files | {name: content, f"{folder}/manifest.json": sealed(manifest)}


def moved(files, ending, key):
    """The files with one entry under another key."""
    old = name_of(files, ending).split("/")[1]
    return {name.replace(old, key): content for name, content in files.items()}


def other_readout(files):
    return next(c for n, c in reversed(files.items()) if n.endswith("readout.npz"))


WEIGHTS, READOUT = "weights.safetensors", "readout.npz"

FORGED = {
    "a name that leads out": (lambda f: f | {"../../evil": b"x"}, "it holds '../../evil'"),
    "an absolute name": (lambda f: f | {"/models/a/b": b"x"}, "it holds '/models/a/b'"),
    "a key that leads up": (lambda f: f | {"readouts/../readout.npz": b"x"}, "it holds 'readouts/"),
    "an empty key": (lambda f: f | {"readouts//readout.npz": b"x"}, "it holds 'readouts//"),
    "a dot for a key": (lambda f: f | {"readouts/./readout.npz": b"x"}, "it holds 'readouts/./"),
    "a short key": (lambda f: f | {"models/abc/manifest.json": b"x"}, "it holds 'models/abc/"),
    "another kind": (lambda f: f | {f"data/{'0' * 64}/manifest.json": b"x"}, "it holds 'data/"),
    "a folder below": (lambda f: f | {f"models/{'0' * 64}/a/b": b"x"}, "it holds 'models/0000"),
    "a folder's own entry": (lambda f: f | {"models/": b""}, "it holds 'models/'"),
    "another file": (lambda f: f | {f"models/{'0' * 64}/run.py": b"x"}, "it holds 'models/0000"),
    "weights among readouts": (
        lambda f: f | {f"readouts/{'0' * 64}/{WEIGHTS}": b"x"}, "it holds 'readouts/0000",
    ),
    "a file twice": (lambda f: [*f.items(), next(iter(f.items()))], "twice"),
    "nothing": (lambda f: {}, "it holds nothing"),
    "no manifest": (lambda f: {n: c for n, c in f.items() if "manifest" not in n}, "no manifest"),
    "a manifest alone": (
        lambda f: {n: c for n, c in f.items() if "manifest" in n}, "match its checksums",
    ),
    "a manifest that is a list": (
        lambda f: f | {name_of(f, "manifest.json"): b"[]"}, "has no manifest",
    ),
    "a manifest nested a thousand deep": (
        lambda f: f | {name_of(f, "manifest.json"): b"[" * 100_000}, "has no manifest",
    ),
    "a manifest with NaN": (
        lambda f: with_entry(f, WEIGHTS, provenance={"seconds": float("nan")}), "has no manifest",
    ),
    "an edited manifest": (
        lambda f: f | {n: c.replace(b'"seed": 0', b'"seed": 7') for n, c in f.items()
                       if "manifest" in n and "models" in n}, "or one that was edited",
    ),
    "flipped weights": (
        lambda f: f | {name_of(f, WEIGHTS): f[name_of(f, WEIGHTS)][:-1] + b"x"},
        "match its checksums",
    ),
    "weights that are none": (lambda f: with_entry(f, WEIGHTS, b"x" * 100), "are no safetensors"),
    "a model without weights": (
        lambda f: with_entry(f, WEIGHTS, safetensors.torch.save({})), "it has no weights",
    ),
    "a model under another key": (lambda f: moved(f, WEIGHTS, "0" * 64), "another model than it"),
    "a model without identity": (
        lambda f: with_entry(f, WEIGHTS, without=["identity"]), "another model than it says",
    ),
    "provenance that is null": (lambda f: with_entry_null(f), "has no manifest"),
    "a model without log": (lambda f: with_entry(f, WEIGHTS, provenance={"log": None}), "no log"),
    "a log of words": (lambda f: with_entry(f, WEIGHTS, provenance={"log": [{"a": 1}]}), "no log"),
    "a model without audit": (lambda f: with_entry(f, WEIGHTS, without=["audit"]), "trained"),
    "a readout that is none": (lambda f: with_entry(f, READOUT, b"PK not"), "is not a readout"),
    "a readout cut short": (
        lambda f: with_entry(f, READOUT, f[name_of(f, READOUT)][:-30]), "is not a readout",
    ),
    "a readout under another key": (lambda f: moved(f, READOUT, "0" * 64), "another model than it"),
    "a readout of the original": (
        lambda f: with_entry(f, READOUT, provenance={"model": {"forget": None}}), "another model",
    ),
    "a readout of other data": (
        lambda f: with_entry(f, READOUT, provenance={"data": "digits"}), "another model than it",
    ),
    "a backslash for a slash": (
        lambda f: f | {"models\\..\\..\\evil": b"x"}, "it holds 'models",
    ),
    "a key in capitals": (lambda f: f | {f"models/{'A' * 64}/{WEIGHTS}": b"x"}, "it holds 'models"),
    "a key in another script": (
        lambda f: f | {f"models/{chr(0x430) * 64}/{WEIGHTS}": b"x"}, "it holds 'models",
    ),
    "a line break after a name": (
        lambda f: f | {f"models/{'0' * 64}/{WEIGHTS}\n": b"x"}, r"it holds 'models.*\\n'",
    ),
    "a manifest of a file more": (
        lambda f: with_entry(f, WEIGHTS, listed={WEIGHTS: "0" * 64, "run.py": "0" * 64}),
        "match its checksums",
    ),
    "a manifest of no files": (lambda f: with_entry(f, WEIGHTS, listed={}), "match its checksums"),
    "a manifest with infinity": (
        lambda f: with_entry(f, WEIGHTS, provenance={"seconds": float("inf")}), "has no manifest",
    ),
    "seconds in letters": (
        lambda f: with_entry(f, WEIGHTS, provenance={"seconds": "5"}), "how it was trained",
    ),
    "seconds below zero": (lambda f: with_entry(f, WEIGHTS, provenance={"seconds": -5}), "trained"),
    "weights that are not finite": (
        lambda f: with_entry(f, WEIGHTS, safetensors.torch.save({"a": torch.tensor(np.nan)})),
        "not all finite",
    ),
    "weights of a kind that there is not": (
        lambda f: with_entry(f, WEIGHTS, tensors(b'{"a":{"dtype":"Z9","shape":[1],'
                                                 b'"data_offsets":[0,4]}}')), "no safetensors",
    ),
    "weights that claim more than there is": (
        lambda f: with_entry(f, WEIGHTS, tensors(b'{"a":{"dtype":"F32","shape":[1000000000000],'
                                                 b'"data_offsets":[0,4000000000000]}}')),
        "no safetensors",
    ),
    "weights with an endless header": (
        lambda f: with_entry(f, WEIGHTS, b"\xff" * 8 + b"{}"), "no safetensors",
    ),
    "a readout of complex numbers": (
        lambda f: with_entry(f, READOUT, changed(f, forget_logits=np.ones((6, 4), complex))),
        "is not a readout",
    ),
    "a readout with NaN": (
        lambda f: with_entry(f, READOUT, changed(f, forget_logits=np.full((6, 4), np.nan, "f4"))),
        "not all finite",
    ),
    "a readout of no samples": (
        lambda f: with_entry(f, READOUT, changed(f, test_labels=np.zeros(0, np.int16))),
        "is not a readout",
    ),
    "a share in letters": (
        lambda f: with_entry(f, READOUT, provenance={"holdout_share": "half"}), "another model",
    ),
    "a share that is a list": (
        lambda f: with_entry(f, READOUT, provenance={"holdout_share": []}), "another model than",
    ),
    "data that is a list": (
        lambda f: with_entry(f, READOUT, provenance={"data": ["synthetic"]}), "another model than",
    ),
    "a model that is a list": (
        lambda f: with_entry(f, READOUT, provenance={"model": [1]}), "of which model",
    ),
    "a readout without a model": (
        lambda f: with_entry(f, READOUT, without=["model"]), "of which model",
    ),
}  # fmt: skip


def tensors(header):
    """Safetensors of four bytes, with any header."""
    return len(header).to_bytes(8, "little") + header + b"\0" * 4


def changed(files, **arrays):
    """A readout of the bundle with other arrays."""
    buffer = io.BytesIO()
    with np.load(io.BytesIO(files[name_of(files, READOUT)])) as old:
        np.savez_compressed(buffer, **(dict(old) | arrays))
    return buffer.getvalue()


def with_entry_null(files):
    name = name_of(files, "manifest.json")
    manifest = json.loads(files[name]) | {"provenance": None}
    return files | {name: json.dumps(manifest).encode()}


def tree(folder):
    """Every file of a folder: path to content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_bundle_is_refused_whole(library, files, tmp_path, kind):
    forge, message = FORGED[kind]
    store = copy_of(library, tmp_path / "cache").store
    before = tree(store.root)
    with pytest.warns(UserWarning, match="Duplicate") if "twice" in kind else nullcontext():
        path = zipped(tmp_path, forge(files))
    with pytest.raises(DoesNotHold, match=message) as caught:
        import_bundle(store, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(store.root) == before, "nothing is written or removed"


def test_a_bundle_whose_last_entry_is_bad_brings_nothing(files, empty, tmp_path):
    *_, last = (name for name in files if name.endswith(READOUT))
    with pytest.raises(DoesNotHold):
        import_bundle(empty, zipped(tmp_path, files | {last: b"x"}))
    assert (keys(empty, "models"), keys(empty, "readouts")) == ([], [])


def patched(path, offset, value):
    """Changes two bytes in every header of an archive."""
    content = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        start = content.find(signature)
        while start >= 0:
            content[start + offset + shift : start + offset + shift + 2] = value
            start = content.find(signature, start + 1)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(6, b"\1\0", "encrypted"), (8, b"\x63\0", "compression"), (8, b"\x0e\0", "")],
    ids=["encrypted", "unknown compression", "another compression"],
)
def test_an_archive_that_cannot_be_read(files, empty, tmp_path, offset, value, message):
    path = patched(zipped(tmp_path, files), offset, value)
    with pytest.raises(DoesNotHold, match=f"is not a bundle: .*{message}"):
        import_bundle(empty, path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\5\6" + b"\0" * 17])
def test_a_file_that_is_no_archive(empty, tmp_path, content):
    (tmp_path / "golds.zip").write_bytes(content)
    with pytest.raises(DoesNotHold, match="is not a bundle"):
        import_bundle(empty, tmp_path / "golds.zip")


def test_an_archive_that_unpacks_to_far_too_much(files, empty, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MOST_BYTES", 1_000_000)
    bomb = files | {name_of(files, WEIGHTS): b"\0" * 2_000_000}
    path = zipped(tmp_path, bomb, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(DoesNotHold, match="unpacks to more than"):
        import_bundle(empty, path)
