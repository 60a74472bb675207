"""Bundles that come with tasks: what is in them is not trained, and nothing cached gives way."""

import re
import sys

import pytest

from mubench._util.cache import Store
from mubench.gold.build import build_missing
from mubench.gold.bundle import export_bundle
from mubench.gold.library import MODELS, READOUTS, GoldLibrary
from mubench.gold.shipped import take_shipped
from mubench.task.installed import load_task
from tests.helpers.packages import bring_tasks
from tests.helpers.stores import copy_of, keys


@pytest.fixture
def bundle(library, tmp_path):
    path = tmp_path / "made.zip"
    export_bundle(library, library.loaded.cases[:1], path)
    return path.read_bytes()


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Installs a package of tasks that holds some files."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield lambda files: bring_tasks(tmp_path / "site", "shipping_tasks", files)
    sys.modules.pop("shipping_tasks", None)


@pytest.fixture
def empty(library, tmp_path):
    return GoldLibrary(library.loaded, Store(tmp_path / "empty"))


def test_what_comes_along_is_not_trained(library, empty, bundle, ship, capsys):
    ship({"others.zip": bundle})  # a task that shares models can have brought them
    build_missing(empty, library.loaded.cases[:1])
    said = capsys.readouterr().err
    # The readout of the original is in it if another test has made one.
    assert re.search("1 original and [23] readouts come with shipping_tasks and need no", said)
    assert "all 3 models are cached" in said
    assert not empty.missing(library.loaded.cases[:1])


def test_what_is_cached_does_not_give_way(library, bundle, ship, tmp_path, capsys):
    ship({"tiny.zip": bundle})
    own = copy_of(library, tmp_path / "own")
    (original,) = library.loaded.originals
    own.store.remove(MODELS, original.key)
    before = {key: own.store.read(READOUTS, key).sealed() for key in keys(own.store, READOUTS)}
    take_shipped(own, library.needed(library.loaded.cases[:1]))
    assert own.is_ready(original)
    assert "1 original and 0 readouts" in capsys.readouterr().err
    assert before == {k: own.store.read(READOUTS, k).sealed() for k in before}


def test_a_bundle_of_other_models_is_left_alone(library, empty, bundle, ship, capsys):
    ship({"tiny.zip": bundle})
    take_shipped(empty, library.loaded.golds(library.loaded.cases[1]))
    assert not keys(empty.store, MODELS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["cut short", "a byte flipped"])
def test_a_damaged_bundle_is_told_and_breaks_nothing(library, empty, bundle, ship, kind, capsys):
    middle = len(bundle) // 2
    flipped = bundle[:middle] + bytes([bundle[middle] ^ 1]) + bundle[middle + 1 :]
    ship({"tiny.zip": flipped if kind == "a byte flipped" else bundle[:middle]})
    take_shipped(empty, library.needed(library.loaded.cases[:1]))
    assert "tiny.zip of shipping_tasks cannot be used" in capsys.readouterr().err
    assert not keys(empty.store, MODELS)
    assert not keys(empty.store, READOUTS)


@pytest.mark.parametrize("name", ["cifar10-subset", "cifar10-scaling"])
def test_the_bundles_of_this_package_hold_all_that_their_tasks_need(name, tmp_path):
    """Without the images: keys follow from the records of the published board."""
    from zipfile import ZipFile

    from mubench._util.files import HARNESS

    task = load_task(name)
    held = set()
    for file in (HARNESS.parent / "tasks").glob("*.zip"):
        with ZipFile(file) as bundle:
            held |= {tuple(name.split("/")[:2]) for name in bundle.namelist()}
    assert sum(kind == MODELS for kind, _ in held) == task.measure.originals == 3
    assert sum(kind == READOUTS for kind, _ in held) >= task.num_cases * task.measure.golds
