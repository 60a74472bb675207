"""Data: one representation of every source, and splits that follow from content alone."""

import hashlib
import os
import random
import re
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mubench.task import folders
from mubench.task.data import DataSet, Samples, forget_indices, forget_sha256, load, split_held_out
from mubench.task.spec import Case, DataSpec, TaskSpec

CIFAR10 = "087d4ccc75875968eb0c8e5aaa47c368b8d52028983baa5348602859cd72c12a"
CIFAR100 = "0a27ded4c3a9b04c590b6762a87f974b6b417462eef35de76859bd267b84af76"
DIGITS = "4339f37e9ae46331400e9541dd0ff9332f2223d2d207530a92405d106cb9a3e9"
SYNTHETIC_16 = "bbc341af80107a57963eb90a925d7c6cc7240409d2be07fc8ccad6a297bf3d7d"

REAL_DATA = os.environ.get("MUBENCH_DATA", "")


def needs_real(folder: str):
    """Marks a test of real data, skipped where that is not."""
    missing = not (REAL_DATA and (Path(REAL_DATA) / folder).is_dir())

    def mark(test):
        reason = f"MUBENCH_DATA holds no {folder}"
        return pytest.mark.real(pytest.mark.skipif(missing, reason=reason)(test))

    return mark


@pytest.fixture(autouse=True)
def data_root(tmp_path, monkeypatch) -> Path:
    """An empty `MUBENCH_DATA`, and a cache of the test's own."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("MUBENCH_DATA", str(root))
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "cache"))
    return root


def spec_of(kind: str, name: str | None = None, size: int = 16, channels: int = 3, **more):
    mean_std = (0.5,) * channels
    return DataSpec(
        name=name or kind, kind=kind, image_size=size, mean=mean_std, std=mean_std, **more
    )


SYNTHETIC = spec_of("synthetic")
DIGITS_SPEC = spec_of("digits", size=8, channels=1)
CIFAR10_SPEC = spec_of("cifar10", size=32)


def task_of(data: DataSpec, draw: int = 0) -> TaskSpec:
    return TaskSpec.model_validate(
        {
            "name": "some-task",
            "version": 1,
            "data": data.model_dump(),
            "model": {"name": "resnet18"},
            "train": {
                "epochs": 1,
                "batch_size": 8,
                "optimizer": "sgd",
                "lr": 0.1,
                "schedule": "constant",
            },
            "forget": {"kind": "random", "sizes": (1,), "draw": draw},
        }
    )


def write_tree(root: Path, samples: Samples, class_names, suffixes=(".png",)) -> None:
    """Writes `root/<class>/<image>` in an order and under names that say nothing."""
    shuffled = random.Random(root.name)
    order = list(range(len(samples)))
    shuffled.shuffle(order)
    for index in order:
        folder = root / class_names[samples.labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = samples.images[index].permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
        path = folder / f"{shuffled.getrandbits(64):x}{shuffled.choice(suffixes)}"
        image.save(path)


def save_image(path: Path, value: int = 0, size: tuple[int, int] = (16, 16)) -> None:
    """A picture that differs for each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, value // 2)).save(path)


def same_data(one: DataSet, other: DataSet) -> bool:
    return (
        one.fingerprint == other.fingerprint
        and one.class_names == other.class_names
        and torch.equal(one.train.images, other.train.images)
        and torch.equal(one.train.labels, other.train.labels)
        and torch.equal(one.test_all.images, other.test_all.images)
        and torch.equal(one.test_all.labels, other.test_all.labels)
    )


# One representation


def test_samples_are_indexed_and_moved_together():
    samples = Samples(torch.arange(8, dtype=torch.uint8).reshape(4, 1, 2, 1), torch.arange(4))
    some = samples[torch.tensor([3, 1])]
    assert len(samples) == 4 and len(some) == 2
    assert some.labels.tolist() == [3, 1]
    assert some.images.flatten().tolist() == [6, 7, 2, 3]
    assert samples[1:3].labels.tolist() == [1, 2]
    moved = samples.to("meta")
    assert moved.images.is_meta and moved.labels.is_meta


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


def test_an_image_folder_is_the_same_data_as_its_source(data_root):
    source = load(DIGITS_SPEC)
    heap = Samples(
        torch.cat([source.train.images, source.test_all.images]),
        torch.cat([source.train.labels, source.test_all.labels]),
    )
    write_tree(data_root / "digits", heap, source.class_names, (".png", ".bmp", ".pgm", ".tif"))
    copy = load(spec_of("folder", "digits", size=8, channels=1, fingerprint=DIGITS))
    assert same_data(copy, source)
    task, case = task_of(DIGITS_SPEC), Case("3-40", "3", 40)
    indices = [forget_indices(dataset, task, case) for dataset in (copy, source)]
    assert forget_sha256(copy, indices[0]) == forget_sha256(source, indices[1])


def test_a_folder_of_two_parts_keeps_them(data_root):
    source = load(SYNTHETIC)
    write_tree(data_root / "mine" / "train", source.train, source.class_names)
    write_tree(data_root / "mine" / "test", source.test_all, source.class_names)
    (data_root / "mine" / "train" / ".hidden").mkdir()
    (data_root / "mine" / "train" / "a" / ".DS_Store").touch()
    assert same_data(load(spec_of("folder", "mine")), source)


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


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of("cifar10", size=16), "cifar10 has images of 32 pixels in 3 channels.*16 pixels"),
        (spec_of("digits", size=8, channels=3), "digits has images of 8 pixels in 1 channels"),
        (spec_of("synthetic", channels=1), "synthetic images have 3 channels.*have 1"),
        (spec_of("folder", "mine", channels=2), "1 or 3 channels.*have 2"),
    ],
)
def test_wrong_shapes_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        load(spec)


# Splits


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
    with pytest.raises(ValueError, match="1 held-out images cannot be cut at holdout_share"):
        split_held_out(load(spec), spec)
    save_image(data_root / "heap" / "a" / "0.png")
    with pytest.raises(ValueError, match=r"class 'a' has no training image left.*0\.9"):
        load(spec_of("folder", "heap", test_share=0.9))


SYNTHETIC_DATA = load(SYNTHETIC)
FORGET_ORIGINS = st.sampled_from([("c", 60), (None, 240)])  # class, images to draw from


@given(origin=FORGET_ORIGINS, draw=st.integers(0, 3), data=st.data())
def test_forget_sets_are_exact_and_nested(origin, draw, data):
    class_name, available = origin
    small, large = sorted(data.draw(st.tuples(*[st.integers(1, available)] * 2)))
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
    with pytest.raises(ValueError, match=r"a-5 wants 5 images, copies has 4 .*\(4 more have cop"):
        forget_indices(dataset, task, Case("a-5", "a", 5))
    whole = forget_indices(dataset, task, Case("a-all", "a", None))
    assert whole.tolist() == np.flatnonzero(dataset.train.labels.numpy() == 0).tolist()
    assert len(whole) == 8


# Image folders


def make_folder(root: Path, layout: dict[str, int]) -> None:
    """Folders with so many images each."""
    for name, count in layout.items():
        (root / name).mkdir(parents=True)
        for value in range(count):
            save_image(root / name / f"{value}.png", value)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "there is no folder .*mine; wanted is train/<class>"),
        ({"train": 0, "test": 0}, "train has no class folders; wanted is"),
        ({"train": 2, "test/a": 2}, "train has no class folders; wanted is"),
        ({"a": 2, "b": 0}, "class folder .*b is empty; remove it"),
        ({"train/a": 2, "test/a": 2, "test/b": 1, "test/c": 1}, "train has not: b, c; remove"),
        ({"train/a": 2, "val/a": 2}, "class folder .*train holds folders; wanted is"),
    ],
)
def test_a_wrong_layout_is_named(data_root, layout, message):
    make_folder(data_root / "mine", layout)
    with pytest.raises(ValueError, match=message):
        load(spec_of("folder", "mine"))


def test_broken_images_are_named_together(data_root):
    make_folder(data_root / "mine", {"a": 12, "b": 3})
    good = (data_root / "mine" / "b" / "0.png").read_bytes()
    for value in range(11):
        (data_root / "mine" / "a" / f"{value}.png").write_bytes(b"no image")
    (data_root / "mine" / "b" / "1.png").write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError) as error:
        load(spec_of("folder", "mine"))
    first, *lines = str(error.value).splitlines()
    assert "12 of 15 files" in first and "mend or remove" in first
    assert len(lines) == 11 and lines[-1] == "  and 2 more"
    assert lines[0].startswith("  a/0.png: ") and "b/2.png" not in str(error.value)


def decode_one(data_root: Path, image: Image.Image, name="0.png", channels=3, size=16, **options):
    """The image as it is loaded: (C, H, W)."""
    path = data_root / "one" / "train" / "a" / name
    path.parent.mkdir(parents=True)
    image.save(path, **options)
    save_image(data_root / "one" / "test" / "a" / "0.png")
    return load(spec_of("folder", "one", size=size, channels=channels)).train.images[0]


def noise_image(height: int, width: int) -> Image.Image:
    pixels = np.frombuffer(hashlib.shake_256(b"").digest(height * width * 3), dtype=np.uint8)
    return Image.fromarray(pixels.reshape(height, width, 3))


def test_exif_turns_an_image(data_root):
    image = noise_image(16, 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    found = decode_one(data_root, image, exif=exif)
    turned = np.rot90(np.asarray(image), k=-1)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), turned)


def test_another_size_is_cut_to_the_middle_and_resized(data_root):
    # A wide image: black, in its middle a square whose left half is white.
    pixels = np.zeros((64, 128, 3), dtype=np.uint8)
    pixels[:, 32:64] = 255
    found = decode_one(data_root, Image.fromarray(pixels), size=8)
    assert found.shape == (3, 8, 8)
    assert (found[:, :, :3] == 255).all() and (found[:, :, 5:] == 0).all()


def test_resizing_does_not_alias(data_root):
    # A chequered image is grey from afar; taking every eighth pixel would be all black.
    pixels = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    found = decode_one(data_root, Image.fromarray(pixels), size=8)
    assert (found.float() - 127.5).abs().max() < 16


def test_a_crop_alone_keeps_the_pixels(data_root):
    image = noise_image(16, 21)
    found = decode_one(data_root, image)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(image)[:, 2:18])


def test_colour_and_grey_follow_the_task(data_root):
    grey = decode_one(data_root, Image.new("RGB", (16, 16), (255, 0, 0)), channels=1)
    assert grey.shape == (1, 16, 16) and (grey == 76).all()  # ITU-R 601: 0.299 of red


def test_palettes_with_transparency_are_read_without_a_warning(data_root):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    found = decode_one(data_root, image, transparency=b"\x80\xff")
    assert found[:, 0, 0].tolist() == [10, 20, 30]


def test_sixteen_bits_are_refused_not_clipped(data_root):
    image = Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16))
    with pytest.raises(ValueError, match=r"more than 8 bits a channel \(mode I;16\)"):
        decode_one(data_root, image)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that get decoded."""
    names: list[str] = []
    decode = folders._decode

    def counting(path, *args):
        names.append(path.name)
        return decode(path, *args)

    monkeypatch.setattr(folders, "_decode", counting)
    return names


def test_a_folder_is_decoded_once(data_root, decoded):
    make_folder(data_root / "mine", {"a": 5, "b": 5})
    changing = data_root / "mine" / "a" / "0.bmp"  # BMP: of one size in bytes, whatever it shows
    save_image(changing, 98)
    spec = spec_of("folder", "mine")
    first = load(spec)
    assert len(decoded) == 11
    assert same_data(load(spec), first) and len(decoded) == 11

    save_image(changing, 99)
    os.utime(changing, ns=(1, 1))
    assert load(spec).fingerprint != first.fingerprint and len(decoded) == 22
    assert load(spec_of("folder", "mine", size=8)).train.images.shape[2:] == (8, 8)
    assert load(spec_of("folder", "mine", channels=1)).train.images.shape[1] == 1


def test_a_damaged_cache_is_decoded_anew(data_root, decoded, tmp_path, capsys):
    make_folder(data_root / "mine", {"a": 5, "b": 5})
    first = load(spec_of("folder", "mine"))
    (cached,) = (tmp_path / "cache").rglob("images.safetensors")
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    assert same_data(load(spec_of("folder", "mine")), first) and len(decoded) == 20
    assert "damaged" in capsys.readouterr().err


# Where the data lies


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
    with pytest.raises(ValueError, match=r"cifar-10-batches-py is damaged.*unpack it anew"):
        load(CIFAR10_SPEC)


def test_a_wrong_data_root_is_named(monkeypatch):
    monkeypatch.setenv("MUBENCH_DATA", "/no/such/folder")
    with pytest.raises(ValueError, match=re.escape("MUBENCH_DATA is /no/such/folder, which is no")):
        load(CIFAR10_SPEC)
    monkeypatch.delenv("MUBENCH_DATA")
    with pytest.raises(ValueError, match="set MUBENCH_DATA to the folder that holds mine"):
        load(spec_of("folder", "mine"))


# Real data


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
