"""Image folders: their layouts, how an image is decoded, and the cache of what was."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mubench._util.errors import UserError
from mubench.task import folders
from mubench.task.data import DataSet, Samples, forget_indices, forget_sha256, load
from mubench.task.spec import Case
from tests.helpers.data_sets import DIGITS, DIGITS_SPEC, SYNTHETIC, spec_of, task_of
from tests.helpers.images import save_image, write_tree


def same_data(one: DataSet, other: DataSet) -> bool:
    return (
        one.fingerprint == other.fingerprint
        and one.class_names == other.class_names
        and torch.equal(one.train.images, other.train.images)
        and torch.equal(one.train.labels, other.train.labels)
        and torch.equal(one.test_all.images, other.test_all.images)
        and torch.equal(one.test_all.labels, other.test_all.labels)
    )


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


def make_folder(root: Path, layout: dict[str, int]) -> None:
    """Folders with so many images each."""
    for name, count in layout.items():
        (root / name).mkdir(parents=True)
        for value in range(count):
            save_image(root / name / f"{value}.png", value)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "there is no folder .*mine; expected train/<class>"),
        ({"train": 0, "test": 0}, "train has no class folders; expected train/<class>"),
        ({"train": 2, "test/a": 2}, "train has no class folders; expected train/<class>"),
        ({"a": 2, "b": 0}, "class folder .*b is empty; remove it"),
        (
            {"train/a": 2, "test/a": 2, "test/b": 1, "test/c": 1},
            "train does not have: b, c; remove",
        ),
        ({"train/a": 2, "val/a": 2}, "class folder .*train holds folders; expected train/<class>"),
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
    assert "12 of 15 files" in first and "repair or remove" in first
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
    with pytest.raises(ValueError, match=r"more than 8 bits per channel \(mode I;16\)"):
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


def test_content_decides_not_names_sizes_and_times(data_root, decoded):
    """As archives do that unpack with fixed times."""
    make_folder(data_root / "mine", {"a": 5, "b": 5})
    changing = data_root / "mine/a/0.bmp"
    save_image(changing, 98)
    before = changing.stat()
    first = load(spec_of("folder", "mine"))
    save_image(changing, 99)
    os.utime(changing, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = changing.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load(spec_of("folder", "mine")).fingerprint != first.fingerprint
    os.utime(changing, ns=(1, 1))  # another time alone is no other image
    assert len(decoded) == 22
    load(spec_of("folder", "mine"))
    assert len(decoded) == 22


def test_what_is_no_file_is_named_and_never_waited_for(data_root):
    make_folder(data_root / "mine", {"a": 5, "b": 5})
    os.mkfifo(data_root / "mine/a/pipe.png")
    with pytest.raises(UserError, match=r"a/pipe\.png is no file; remove it"):
        load(spec_of("folder", "mine"))
    (data_root / "mine/a/pipe.png").unlink()
    (data_root / "mine/b/broken.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"b/broken\.png is no file; remove it"):
        load(spec_of("folder", "mine"))


def test_a_damaged_cache_is_decoded_anew(data_root, decoded, tmp_path, capsys):
    make_folder(data_root / "mine", {"a": 5, "b": 5})
    first = load(spec_of("folder", "mine"))
    (cached,) = (tmp_path / "cache").rglob("images.safetensors")
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    assert same_data(load(spec_of("folder", "mine")), first) and len(decoded) == 20
    assert "damaged" in capsys.readouterr().err
