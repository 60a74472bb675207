"""Sources: what each gives, and where CIFAR and folders are looked for."""

import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from mubench.task.data import forget_indices, load, split_held_out
from mubench.task.spec import Case
from tests.helpers.data_sets import (
    CIFAR10,
    CIFAR10_SPEC,
    DIGITS,
    DIGITS_SPEC,
    REAL_DATA,
    SYNTHETIC,
    SYNTHETIC_16,
    needs_real,
    spec_of,
    task_of,
)
from tests.helpers.images import write_tree


def test_the_sources_stay_what_they_are():
    assert load(SYNTHETIC).fingerprint == SYNTHETIC_16
    assert load(DIGITS_SPEC).fingerprint == DIGITS


def test_synthetic_is_balanced_and_can_be_learnt():
    dataset = load(SYNTHETIC)
    assert dataset.class_names == ("a", "b", "c", "d")
    assert dataset.train.labels.bincount().tolist() == [60] * 4
    assert dataset.test_all.labels.bincount().tolist() == [30] * 4
    train, test = (s.images.float().flatten(1) for s in (dataset.train, dataset.test_all))
    centres = torch.stack([train[dataset.train.labels == k].mean(0) for k in range(4)])
    accuracy = (torch.cdist(test, centres).argmin(1) == dataset.test_all.labels).float().mean()
    assert accuracy > 0.95


def test_digits_use_the_whole_range():
    dataset = load(DIGITS_SPEC)
    levels = torch.cat([dataset.train.images, dataset.test_all.images]).unique().tolist()
    assert levels == [round(value * 255 / 16) for value in range(17)]


def test_without_data_and_network_both_ways_out_are_named(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(ValueError) as error:
        load(CIFAR10_SPEC)
    message = str(error.value)
    assert "\n" not in message and "no route to host" in message
    assert "set MUBENCH_DATA to a folder that holds cifar-10-batches-py" in message
    assert "run once with a network" in message


def test_a_download_goes_to_the_cache(monkeypatch, tmp_path):
    asked = []

    def offline(url, root, **kwargs):
        asked.append(Path(root))
        raise URLError("offline")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    monkeypatch.delenv("MUBENCH_DATA")
    with pytest.raises(ValueError, match="cifar100 cannot be downloaded"):
        load(spec_of("cifar100", size=32))
    assert asked == [tmp_path / "cache" / "data"]


def test_damaged_cifar_files_are_not_read(data_root):
    (data_root / "cifar-10-batches-py").mkdir()
    (data_root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py is damaged.*unpack it again"):
        load(CIFAR10_SPEC)


def test_a_wrong_data_root_is_named(monkeypatch):
    monkeypatch.setenv("MUBENCH_DATA", "/no/such/folder")
    with pytest.raises(ValueError, match=re.escape("MUBENCH_DATA is /no/such/folder, which is no")):
        load(CIFAR10_SPEC)
    monkeypatch.delenv("MUBENCH_DATA")
    with pytest.raises(ValueError, match="set MUBENCH_DATA to the folder that holds mine"):
        load(spec_of("folder", "mine"))


@needs_real("cifar-10-batches-py")
def test_cifar10_and_a_folder_of_some_of_it(data_root, monkeypatch):
    monkeypatch.setenv("MUBENCH_DATA", REAL_DATA)
    full = load(spec_of("cifar10", size=32, fingerprint=CIFAR10))
    assert full.class_names[3] == "cat" and len(full.train) == 50_000
    holdout, test = split_held_out(full, CIFAR10_SPEC)
    assert holdout.labels.bincount().tolist() == test.labels.bincount().tolist() == [500] * 10
    nested = [
        set(forget_indices(full, task_of(CIFAR10_SPEC), Case("cat", "cat", size)).tolist())
        for size in (100, 200, 4000)
    ]
    assert nested[0] < nested[1] < nested[2]
    assert [len(indices) for indices in nested] == [100, 200, 4000]

    some_train, some_test = full.train[:300], full.test_all[:100]
    write_tree(data_root / "cifar10" / "train", some_train, full.class_names)
    write_tree(data_root / "cifar10" / "test", some_test, full.class_names)
    monkeypatch.setenv("MUBENCH_DATA", str(data_root))
    copy = load(CIFAR10_SPEC)
    assert copy.class_names == full.class_names
    for mine, theirs in ((copy.train, some_train), (copy.test_all, some_test)):
        assert torch.equal(mine.images, theirs.images) and torch.equal(mine.labels, theirs.labels)


@pytest.mark.slow
@needs_real("cifar-10-batches-py")
def test_cifar10_as_sixty_thousand_files_is_cifar10(data_root, monkeypatch):
    monkeypatch.setenv("MUBENCH_DATA", REAL_DATA)
    full = load(CIFAR10_SPEC)
    write_tree(data_root / "cifar10" / "train", full.train, full.class_names)
    write_tree(data_root / "cifar10" / "test", full.test_all, full.class_names)
    monkeypatch.setenv("MUBENCH_DATA", str(data_root))
    assert load(CIFAR10_SPEC).fingerprint == CIFAR10
