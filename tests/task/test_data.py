"""Data sets: one representation, and splits that follow from content alone."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mubench._util.errors import UserError
from mubench.task.data import (
    Samples,
    forget_indices,
    forget_sha256,
    load,
    shard_numbers,
    split,
    split_held_out,
)
from mubench.task.spec import Case
from tests.helpers.data_sets import (
    CIFAR100,
    DIGITS_SPEC,
    REAL_DATA,
    SYNTHETIC,
    SYNTHETIC_16,
    needs_real,
    spec_of,
    task_of,
)
from tests.helpers.images import save_image


def test_samples_are_indexed_and_moved_together():
    samples = Samples(torch.arange(8, dtype=torch.uint8).reshape(4, 1, 2, 1), torch.arange(4))
    some = samples[torch.tensor([3, 1])]
    assert len(samples) == 4 and len(some) == 2
    assert some.labels.tolist() == [3, 1]
    assert some.images.flatten().tolist() == [6, 7, 2, 3]
    assert samples[1:3].labels.tolist() == [1, 2]
    moved = samples.to("meta")
    assert moved.images.is_meta and moved.labels.is_meta


def test_a_split_is_in_the_order_of_the_samples_and_copies_them():
    images = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1)
    samples = Samples(images, torch.arange(5))
    chosen, others = split(samples, torch.tensor([3, 1]))
    assert chosen.labels.tolist() == chosen.images.flatten().tolist() == [1, 3]
    assert others.labels.tolist() == others.images.flatten().tolist() == [0, 2, 4]
    for part in (chosen, others):
        part.images.zero_()
    assert images.flatten().tolist() == [0, 1, 2, 3, 4]
    everything = torch.arange(5)
    assert [len(part) for part in split(samples, everything)] == [5, 0]
    assert [len(part) for part in split(samples, everything[:0])] == [0, 5]


def test_the_shard_of_an_image_follows_from_its_pixels_alone():
    images = load(DIGITS_SPEC).train.images
    number_N = shard_numbers(images, 5)
    assert shard_numbers(images[[8, 3, 8]], 5).tolist() == [number_N[i] for i in (8, 3, 8)]
    counts = np.bincount(number_N)
    assert len(counts) == 5
    expected = len(images) / 5
    assert abs(counts - expected).max() < 4 * np.sqrt(expected)
    assert (shard_numbers(images, 1) == 0).all()


@pytest.mark.parametrize("spec", [SYNTHETIC, DIGITS_SPEC], ids=["synthetic", "digits"])
def test_data_is_uint8_nchw_in_content_order(spec):
    dataset = load(spec)
    shape = (len(spec.mean), spec.image_size, spec.image_size)
    for samples, hashes in (
        (dataset.train, dataset.train_hashes),
        (dataset.test_all, dataset.test_hashes),
    ):
        assert samples.images.dtype == torch.uint8 and samples.labels.dtype == torch.int64
        assert samples.images.shape == (len(samples), *shape)
        header = "x".join(map(str, shape)).encode() + b":"
        found = [row.tobytes() for row in hashes]
        wanted = [hashlib.sha256(header + i.numpy().tobytes()).digest() for i in samples.images]
        assert found == wanted == sorted(wanted)


def test_fingerprint_follows_labels_classes_and_parts(data_root):
    def fingerprint(name: str, *paths: str) -> str:
        for value, path in enumerate(paths):
            save_image(data_root / name / path, value)
        return load(spec_of("folder", name)).fingerprint

    plain = fingerprint("plain", "train/a/0.png", "train/b/1.png", "test/a/2.png")
    assert plain == fingerprint("again", "train/a/9.png", "train/b/8.png", "test/a/7.png")
    others = [
        fingerprint("label", "train/b/0.png", "train/a/1.png", "test/a/2.png"),
        fingerprint("classes", "train/a/0.png", "train/c/1.png", "test/a/2.png"),
        fingerprint("parts", "train/a/0.png", "test/a/1.png", "train/b/2.png"),
    ]
    assert len({plain, *others}) == 4


def test_another_fingerprint_is_an_error_that_names_both():
    wanted = "0" * 64
    spec = spec_of("synthetic", fingerprint=wanted)
    with pytest.raises(ValueError, match=f"(?s){SYNTHETIC_16}.*{wanted}"):
        load(spec)
    assert load(spec, check=False).fingerprint == SYNTHETIC_16


@pytest.mark.parametrize("share", [0.5, 0.25, 0.9])
def test_holdout_and_test_share_out_every_class(share):
    spec = spec_of("digits", size=8, channels=1, holdout_share=share)
    dataset = load(spec)
    holdout, test = split_held_out(dataset, spec)
    total = dataset.test_all.labels.bincount()
    assert holdout.labels.bincount().tolist() == [round(share * n) for n in total.tolist()]
    assert torch.equal(holdout.labels.bincount() + test.labels.bincount(), total)
    pixels = [{image.numpy().tobytes() for image in part.images} for part in (holdout, test)]
    assert pixels[0].isdisjoint(pixels[1])
    assert pixels[0] | pixels[1] == {i.numpy().tobytes() for i in dataset.test_all.images}


def test_held_out_share_is_exact_and_nested():
    small, large = (
        load(spec_of("digits", size=8, channels=1, test_share=share)) for share in (0.1, 0.3)
    )
    counts = (large.train.labels.bincount() + large.test_all.labels.bincount()).tolist()
    assert large.test_all.labels.bincount().tolist() == [round(0.3 * n) for n in counts]
    hashes = [{row.tobytes() for row in dataset.test_hashes} for dataset in (small, large)]
    assert hashes[0] < hashes[1]


def test_too_little_to_cut_is_an_error(data_root):
    for value, path in enumerate(("train/a/0.png", "train/b/0.png", "test/a/0.png")):
        save_image(data_root / "tiny" / path, value)
    spec = spec_of("folder", "tiny")
    with pytest.raises(ValueError, match="1 held-out images cannot be split at holdout_share"):
        split_held_out(load(spec), spec)
    save_image(data_root / "heap" / "a" / "0.png")
    with pytest.raises(ValueError, match=r"class 'a' has no training image left.*0\.9"):
        load(spec_of("folder", "heap", test_share=0.9))


SYNTHETIC_DATA = load(SYNTHETIC)
FORGET_ORIGINS = st.sampled_from([("c", 60), (None, 240)])  # class, images to draw from


@given(origin=FORGET_ORIGINS, draw=st.integers(0, 3), data=st.data())
def test_forget_sets_are_exact_and_nested(origin, draw, data):
    class_name, available = origin
    small, large = sorted(data.draw(st.tuples(*[st.integers(1, available - 1)] * 2)))
    task = task_of(SYNTHETIC, draw)
    sets = [
        forget_indices(SYNTHETIC_DATA, task, Case("some", class_name, size))
        for size in (small, large)
    ]
    assert [len(indices) for indices in sets] == [small, large]
    assert set(sets[0].tolist()) <= set(sets[1].tolist())
    assert sets[1].dtype == np.int64 and (np.diff(sets[1]) > 0).all()
    if class_name is not None:
        assert (SYNTHETIC_DATA.train.labels[torch.from_numpy(sets[1])] == 2).all()


@pytest.mark.parametrize(
    ("class_name", "candidates", "key"),
    [
        ("b", SYNTHETIC_DATA.train.labels == 1, b"synthetic/b/7"),
        (None, SYNTHETIC_DATA.train.labels >= 0, b"synthetic/random/7"),
    ],
)
def test_a_forget_set_is_what_its_definition_says(class_name, candidates, key):
    rows = [row.tobytes() for row in SYNTHETIC_DATA.train_hashes[candidates.numpy()]]
    wanted = sorted(sorted(rows, key=lambda row: hashlib.sha256(key + row).digest())[:5])
    indices = forget_indices(SYNTHETIC_DATA, task_of(SYNTHETIC, 7), Case("some", class_name, 5))
    assert [SYNTHETIC_DATA.train_hashes[i].tobytes() for i in indices] == wanted
    identity = hashlib.sha256(b"".join(wanted)).hexdigest()
    assert forget_sha256(SYNTHETIC_DATA, indices) == identity
    assert forget_sha256(SYNTHETIC_DATA, indices[::-1]) == identity
    assert forget_sha256(SYNTHETIC_DATA, indices[:4]) != identity


def test_the_holdout_is_what_its_definition_says():
    rank = [
        hashlib.sha256(b"synthetic/holdout" + row.tobytes()).digest()
        for row in SYNTHETIC_DATA.test_hashes
    ]
    labels = SYNTHETIC_DATA.test_all.labels.tolist()
    wanted: list[int] = []
    for label in range(4):
        of_class = [i for i in range(120) if labels[i] == label]
        wanted += sorted(of_class, key=rank.__getitem__)[:15]
    holdout, _ = split_held_out(SYNTHETIC_DATA, SYNTHETIC)
    expected = SYNTHETIC_DATA.test_all[torch.tensor(sorted(wanted))]
    assert torch.equal(holdout.images, expected.images)


def test_draws_classes_and_data_names_give_other_sets():
    renamed = spec_of("synthetic", "other-name")
    tasks = [task_of(SYNTHETIC, 0), task_of(SYNTHETIC, 1), task_of(renamed, 0)]
    cases = [Case("a-20", "a", 20), Case("random-20", None, 20)]
    identities = {
        forget_sha256(SYNTHETIC_DATA, forget_indices(SYNTHETIC_DATA, task, case))
        for task in tasks
        for case in cases
    }
    assert len(identities) == 6


@pytest.mark.parametrize(("class_name", "size"), [("c", 60), ("c", 61), (None, 240), (None, 999)])
def test_a_forget_set_as_large_as_what_it_is_of_is_refused(class_name, size):
    with pytest.raises(UserError, match=r"needs \d+ images of the (60|240) of .*lower the size"):
        forget_indices(SYNTHETIC_DATA, task_of(SYNTHETIC), Case("some", class_name, size))


def test_the_only_class_cannot_be_forgotten(data_root):
    for part in ("train", "test"):
        for value in (0, 1):
            save_image(data_root / "single" / part / "a" / f"{value}.png", value)
    spec = spec_of("folder", "single")
    with pytest.raises(UserError, match="case a-all forgets all images"):
        forget_indices(load(spec), task_of(spec), Case("a-all", "a", None))


def test_a_random_forget_set_is_of_all_classes():
    indices = forget_indices(SYNTHETIC_DATA, task_of(SYNTHETIC), Case("random-80", None, 80))
    counts = SYNTHETIC_DATA.train.labels[torch.from_numpy(indices)].bincount(minlength=4)
    assert counts.sum() == 80 and counts.min() >= 8


def test_copies_are_never_drawn_but_a_whole_class_has_them(data_root):
    # Of 8 images of class a: 2 are the same, 1 is in b too, 1 is in test too; 4 may be drawn.
    train = {"a": [1, 1, 2, 3, 4, 5, 6, 7], "b": [2, 8, 9]}
    for class_name, values in {**train, "../test/a": [3, 10]}.items():
        for index, value in enumerate(values):
            save_image(data_root / "copies" / "train" / class_name / f"{index}.png", value)
    spec = spec_of("folder", "copies")
    dataset, task = load(spec), task_of(spec)
    drawn = forget_indices(dataset, task, Case("a-4", "a", 4))
    assert sorted(dataset.train.images[torch.from_numpy(drawn), 0, 0, 0].tolist()) == [4, 5, 6, 7]
    everywhere = forget_indices(dataset, task, Case("random-6", None, 6))
    values = dataset.train.images[torch.from_numpy(everywhere), 0, 0, 0].tolist()
    assert sorted(values) == [4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match=r"a-5 needs 5 images; copies has 4 .*\(4 more have cop"):
        forget_indices(dataset, task, Case("a-5", "a", 5))
    whole = forget_indices(dataset, task, Case("a-all", "a", None))
    assert whole.tolist() == np.flatnonzero(dataset.train.labels.numpy() == 0).tolist()
    assert len(whole) == 8


@needs_real("cifar-100-python")
def test_copies_in_cifar100_are_never_drawn(monkeypatch):
    monkeypatch.setenv("MUBENCH_DATA", REAL_DATA)
    spec = spec_of("cifar100", size=32, fingerprint=CIFAR100)
    dataset = load(spec)
    train = [row.tobytes() for row in dataset.train_hashes]
    held_out = {row.tobytes() for row in dataset.test_hashes}
    rows, counts = np.unique(dataset.train_hashes, axis=0, return_counts=True)
    repeated = {row.tobytes() for row in rows[counts > 1]} | (set(train) & held_out)
    copies = {index for index, pixel_hash in enumerate(train) if pixel_hash in repeated}
    assert len(copies) == 38
    task = task_of(spec)
    everything = forget_indices(dataset, task, Case("random", None, 50_000 - 38))
    assert copies.isdisjoint(everything.tolist())
    with pytest.raises(ValueError, match="49962 to draw from"):
        forget_indices(dataset, task, Case("random", None, 50_000 - 37))
