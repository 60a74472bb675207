"""Bundles of golds: export, import and what is refused."""

import pytest

from mubench.gold.bundle import export_bundle, import_bundle
from mubench.gold.library import GoldLibrary
from tests.helpers.stores import keys


def test_a_bundle_is_enough_to_score_with(library, empty, tmp_path):
    tiny = library.loaded
    path = tmp_path / "golds.zip"
    size = export_bundle(library, tiny.cases[:1], path)
    assert size == path.stat().st_size
    assert import_bundle(empty, path) == (1, 2)
    imported = GoldLibrary(tiny, empty)
    assert imported.missing(tiny.cases[:1]) == []
    ref = tiny.golds(tiny.cases[0])[0]
    assert not empty.holds("models", ref.key)
    assert imported.readout(ref).content == library.readout(ref).content


def test_a_bundle_of_what_is_not_cached_is_refused(library, tmp_path):
    with pytest.raises(ValueError, match=r"not cached: .*gold 1 of d-6.*mubench gold build"):
        export_bundle(library, library.loaded.cases, tmp_path / "golds.zip")


def test_a_bundle_is_checked_by_content(library, empty, tmp_path):
    import zipfile

    path, bad = tmp_path / "golds.zip", tmp_path / "bad.zip"
    export_bundle(library, library.loaded.cases[:1], path)
    with zipfile.ZipFile(path) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}

    def rejected(expected, changed):
        with zipfile.ZipFile(bad, "w") as bundle:
            for name, content in changed.items():
                bundle.writestr(name, content)
        with pytest.raises(ValueError, match=expected):
            import_bundle(empty, bad)
        assert keys(empty, "models") == []

    weights = next(name for name in files if name.endswith(".safetensors"))
    rejected("does not match its checksums", files | {weights: files[weights][:-1] + b"x"})
    key = weights.split("/")[1]
    moved = {name.replace(key, "0" * 64): c for name, c in files.items() if key in name}
    rejected("another model than it says", moved)
    rejected("not a bundle: it holds", files | {"../../evil": b"x"})
    rejected("not a bundle: it holds", files | {"models/k/a/b": b"x"})
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="not a bundle"):
        import_bundle(empty, path)
