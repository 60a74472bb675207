"""Sources of images: CIFAR, the digits of scikit-learn, an image folder, or synthetic images."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mubench._util.cache import Store, cache_root
from mubench._util.errors import UserError

from .folders import RawData, RawImages, read_folder
from .spec import DataSpec

SYNTHETIC_CLASSES = ("a", "b", "c", "d")
SYNTHETIC_SIZES = {"train": 60, "held-out": 30}  # images per class


def _data_root() -> Path | None:
    """The folder `MUBENCH_DATA`; None if the variable is not set."""
    value = os.environ.get("MUBENCH_DATA")
    if not value:
        return None
    root = Path(value).expanduser()
    if not root.is_dir():
        raise UserError(f"MUBENCH_DATA is {value}, which is not a folder; correct or unset it")
    return root


def _cifar(spec: DataSpec) -> RawData:
    """CIFAR from the first source that exists.

    1. torchvision's files in `MUBENCH_DATA`.
    2. An image folder in `MUBENCH_DATA`.
    3. A download into the cache.
    """
    from torchvision import datasets  # here: slow to import, and only CIFAR needs it

    source = datasets.CIFAR10 if spec.kind == "cifar10" else datasets.CIFAR100
    root = _data_root()
    if root and (root / source.base_folder).is_dir():
        try:
            parts = [source(root, train=is_train) for is_train in (True, False)]
        except RuntimeError:
            raise UserError(
                f"{root / source.base_folder} is damaged: its checksums are not torchvision's; "
                "unpack it again"
            ) from None
    elif root and (root / spec.kind).is_dir():
        return read_folder(root / spec.kind, spec.image_size, len(spec.mean))
    else:
        try:
            parts = _downloaded(source, spec.kind)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{spec.kind} cannot be downloaded ({error}); set MUBENCH_DATA to a folder that "
                f"holds {source.base_folder}, or run once with a network"
            ) from None
    train, held_out = (
        # torchvision hands out (N, H, W, C)
        RawImages(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets))
        for part in parts
    )
    return RawData(tuple(parts[0].classes), train, held_out)


def _downloaded(source: Callable[..., Any], kind: str) -> list[Any]:
    """Both parts of CIFAR from the cache, after a download if they are not there."""
    folder = cache_root() / "data"

    def parts(download: bool) -> list[Any]:
        return [source(folder, train=is_train, download=download) for is_train in (True, False)]

    try:
        return parts(download=False)  # without a lock, as the cache may be read-only
    except RuntimeError:  # not there, or damaged
        with Store(cache_root()).lock("data", kind, f"downloading {kind}"):
            return parts(download=True)


def _digits(spec: DataSpec) -> RawData:
    """scikit-learn's 8x8 digits, their levels 0 to 16 scaled to 0 to 255."""
    from sklearn.datasets import load_digits  # here: slow to import, and only digits need it

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    return RawData(
        tuple(str(name) for name in digits.target_names), RawImages(images, labels), None
    )


def _folder(spec: DataSpec) -> RawData:
    root = _data_root()
    if root is None:
        raise UserError(f"set MUBENCH_DATA to the folder that holds {spec.name}")
    return read_folder(root / spec.name, spec.image_size, len(spec.mean))


def _synthetic(spec: DataSpec) -> RawData:
    """Four classes, each a pattern of coloured blocks. An image is half pattern, half noise."""
    size = spec.image_size
    block_of = np.arange(size) * 4 // size  # 4x4 blocks, as these survive small crops

    def noise(name: str, *shape: int) -> NDArray[np.uint16]:
        content = hashlib.shake_256(name.encode()).digest(int(np.prod(shape)))
        return np.frombuffer(content, dtype=np.uint8).reshape(shape).astype(np.uint16)

    def part(name: str, per_class: int) -> RawImages:
        images = []
        for class_name in SYNTHETIC_CLASSES:
            blocks = noise(f"synthetic/{class_name}", 3, 4, 4)
            pattern = blocks[:, block_of][:, :, block_of]
            grain = noise(f"synthetic/{class_name}/{name}", per_class, 3, size, size)
            images.append(((pattern + grain) // 2).astype(np.uint8))
        labels = np.repeat(np.arange(len(SYNTHETIC_CLASSES)), per_class)
        return RawImages(np.concatenate(images), labels)

    parts = [part(name, per_class) for name, per_class in SYNTHETIC_SIZES.items()]
    return RawData(SYNTHETIC_CLASSES, parts[0], parts[1])


SOURCES: dict[str, Callable[[DataSpec], RawData]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "digits": _digits,
    "folder": _folder,
    "synthetic": _synthetic,
}
"""The function that loads each kind of data, by `DataSpec.kind`."""
