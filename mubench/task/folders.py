"""Image folders on disk: one folder per class, decoded once and then read from the cache.

The layout is `train/<class>/*` and `test/<class>/*`, or one tree `<class>/*` that the caller
splits. Classes are the sorted folder names. Files and folders whose names begin with a dot are
ignored.

Each image is decoded in three steps:

1. It is rotated as its EXIF orientation states.
2. It is converted to RGB or grey.
3. If its size differs from the wanted size, its central square is resized (bicubic, antialiased).
   Otherwise its pixels stay unchanged.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.numpy import load, save
from tqdm import tqdm

from mubench._util.cache import Content, Store, cache_root
from mubench._util.errors import UserError
from mubench._util.hashing import digest

LAYOUT = "expected train/<class>/<image> and test/<class>/<image>, or just <class>/<image>"
CACHED = "images.safetensors"
MODES = {1: "L", 3: "RGB"}  # number of channels to Pillow's name for the mode
SHOWN = 10  # a message names this many broken images and counts all of them


class RawImages(NamedTuple):
    """N images as a source gives them. Their order does not matter."""

    images: NDArray[np.uint8]  # (N, C, H, W), pixels from 0 to 255
    labels: NDArray[np.int64]  # (N,), positions in the class names


class RawData(NamedTuple):
    """All images of a source."""

    class_names: tuple[str, ...]  # in label order
    train: RawImages
    held_out: RawImages | None  # None: the source does not separate training and held-out images


class _Split(NamedTuple):
    """The files of one tree of class folders."""

    class_names: list[str]
    paths: list[Path]
    classes: list[str]  # the class of each path


def read_folder(root: Path, image_size: int, channels: int) -> RawData:
    """Reads an image folder, from the cache if the same files were decoded before.

    Args:
        root: the folder that holds `train` and `test`, or the class folders.
        image_size: pixels on a side of every returned image.
        channels: 3 for RGB, 1 for grey.

    Raises:
        UserError: the message names the folder or the images that are wrong:

            - the folder does not exist or has no class folders,
            - a class is empty, or is only in `test`,
            - images cannot be decoded.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; {LAYOUT}")
    is_split = (root / "train").is_dir() and (root / "test").is_dir()
    splits = [_list_split(root / part) for part in (("train", "test") if is_split else ("",))]
    class_names = splits[0].class_names
    if strangers := sorted(set(splits[-1].class_names) - set(class_names)):
        raise UserError(
            f"{root / 'test'} has classes that train does not have: {', '.join(strangers)}; "
            "remove them, or add their training images"
        )
    images = _decode_once(root, [p for s in splits for p in s.paths], image_size, channels)
    label_of = {name: label for label, name in enumerate(class_names)}
    parts, start = [], 0
    for split in splits:
        labels = np.array([label_of[name] for name in split.classes], dtype=np.int64)
        parts.append(RawImages(images[start : start + len(labels)], labels))
        start += len(labels)
    return RawData(tuple(class_names), parts[0], parts[1] if is_split else None)


def _list_split(root: Path) -> _Split:
    class_names = [path.name for path in _visible(root) if path.is_dir()]
    if not class_names:
        raise UserError(f"{root} has no class folders; {LAYOUT}")
    split = _Split(class_names, [], [])
    for name in class_names:
        paths = _visible(root / name)
        if not paths:
            raise UserError(f"class folder {root / name} is empty; remove it, or add images")
        if any(path.is_dir() for path in paths):
            raise UserError(f"class folder {root / name} holds folders; {LAYOUT}")
        split.paths.extend(paths)
        split.classes.extend([name] * len(paths))
    return split


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _decode_once(
    root: Path, paths: Sequence[Path], image_size: int, channels: int
) -> NDArray[np.uint8]:
    """Images of `paths`, uint8 (N, C, H, W), from the cache or decoded and then cached."""
    # Content decides. Names, sizes and times can be those of other images: many archives unpack
    # with fixed times.
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_sha256, paths))
    files = [[path.relative_to(root).as_posix(), h] for path, h in zip(paths, hashes, strict=True)]
    key = digest({"files": files, "image_size": image_size, "channels": channels})
    store = Store(cache_root())  # on this machine, as the images are

    def decode() -> Content:
        images = _decode_all(root, paths, image_size, channels)
        provenance = {
            "root": str(root),
            "num_images": len(paths),
            "image_size": image_size,
            "channels": channels,
            "pillow": PIL.__version__,
        }
        return {CACHED: save({"images": images})}, provenance

    entry = store.made("data", key, decode, f"decoding {root}")
    images: NDArray[np.uint8] = load(entry.content(CACHED))["images"]
    return images


def _sha256(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        UserError: the path is no file, such as a pipe or a broken link.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file; remove it")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decode_all(
    root: Path, paths: Sequence[Path], image_size: int, channels: int
) -> NDArray[np.uint8]:
    images_NCHW = np.empty((len(paths), channels, image_size, image_size), dtype=np.uint8)

    def decode_into(index: int) -> str | None:
        try:
            images_NCHW[index] = _decode(paths[index], image_size, MODES[channels])
        except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
            return f"  {paths[index].relative_to(root)}: {error}"
        return None

    # Threads suffice, as Pillow decodes and resizes without holding the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        results = pool.map(decode_into, range(len(paths)))
        progress = tqdm(results, f"decoding {root.name}", len(paths), disable=None)
        broken = [line for line in progress if line is not None]
    if broken:
        more = [f"  and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
        head = f"{root}: {len(broken)} of {len(paths)} files cannot be read as images; "
        raise UserError("\n".join([head + "repair or remove them:", *broken[:SHOWN], *more]))
    return images_NCHW


def _decode(path: Path, image_size: int, mode: str) -> NDArray[np.uint8]:
    """One decoded image, uint8 (C, image_size, image_size)."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith(("I", "F")):
            # Pillow would clip such pixels to 255 instead of scaling them. The images would be
            # nearly white, without any error.
            raise UserError(f"more than 8 bits per channel (mode {image.mode}); convert it to 8")
        if image.mode == "P":
            # Converted to RGB directly, a palette with transparent entries makes Pillow warn.
            image = image.convert("RGBA")
        image = image.convert(mode)
    if image.size != (image_size, image_size):
        # Not ImageOps.fit: there, pixels outside the square influence the pixels at its edges.
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        image = square.resize((image_size, image_size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)  # (H, W) or (H, W, 3)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
