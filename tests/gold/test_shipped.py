"""Bundles that come with tasks: what is in them is not trained, and nothing cached gives way."""

import sys

import pytest

from mubench._util.cache import Store
from mubench._util.hashing import digest
from mubench.gold.build import build_missing
from mubench.gold.bundle import export_bundle
from mubench.gold.identity import identity
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
    assert "1 original and 3 readouts come with shipping_tasks and need no training" in said
    assert "all 3 models are cached" in said
    assert not empty.missing(library.loaded.cases[:1])


def test_the_bundle_of_the_task_is_enough(library, empty, bundle, ship, capsys):
    ship({"others.zip": bundle, "tiny.zip": bundle})
    build_missing(empty, library.loaded.cases[:1])
    said = capsys.readouterr().err
    assert "all of tiny.zip was checked" in said
    assert "others.zip" not in said


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


@pytest.mark.parametrize("name", ["cifar10-subset", "cifar10-scaling", "cifar10-class"])
def test_the_bundles_of_this_package_hold_all_that_their_tasks_need(name, tmp_path):
    """Without the images: keys follow from the records of the published board."""
    from zipfile import ZipFile

    from mubench._util.files import HARNESS

    task = load_task(name)
    held = {}
    for file in (HARNESS.parent / "tasks").glob("*.zip"):
        with ZipFile(file) as bundle:
            held[file.stem] = {tuple(name.split("/")[:2]) for name in bundle.namelist()}
    models = {key for keys in held.values() for kind, key in keys if kind == MODELS}
    assert len(models) == task.measure.originals == 3
    # Of each case: its golds, and the original that seed 0 starts from.
    num_readouts = sum(kind == READOUTS for kind, _ in held[name])
    assert num_readouts == task.num_cases * (task.measure.golds + 1)


@pytest.mark.parametrize("name", ["cifar10-class", "cifar10-random"])
def test_the_originals_of_cifar10_subset_serve_the_other_kinds_of_forget_sets(name):
    from zipfile import ZipFile

    from mubench._util.files import HARNESS

    task = load_task(name)
    with ZipFile(HARNESS.parent / "tasks" / "cifar10-subset.zip") as bundle:
        held = {tuple(name.split("/")[:2]) for name in bundle.namelist()}
    seeds = range(task.measure.originals)
    keys = [digest(identity(task, task.data.fingerprint, None, seed)) for seed in seeds]
    assert len(keys) == 3
    assert {(MODELS, key) for key in keys} <= held
