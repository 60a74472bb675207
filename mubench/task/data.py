"""Data sets in one representation, and splits that depend only on the content of the images.

Images are uint8 (N, C, H, W), ordered by the SHA-256 of their shape and pixels. Three splits use
one rule:

- training and held-out images, where the source does not separate them,
- holdout and test images,
- forget sets.

A split takes the images with the smallest *keyed* hash: the SHA-256 of a key followed by the pixel
hash. So a split needs no random generator, and it is the same on every copy of the data, whatever
the file format or order. A smaller forget set is part of every larger one.

Copies: an image whose pixels occur again, in train or among the held-out images, is never drawn
into a forget set of kind `subset` or `random`. Otherwise its copy in the retain set would go on
teaching it, or the scored test set would contain it. Leaving out all copies keeps |D_f| exact (38
training images of CIFAR-100 have copies). Kind `class` takes the whole class with its copies.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mubench._util.errors import UserError
from mubench._util.hashing import digest

from .folders import RawImages
from .sources import SOURCES
from .spec import Case, DataSpec, Task


@dataclass(frozen=True, eq=False)
class Samples:
    """N images and their labels, on one device."""

    images: Tensor
    """uint8 (N, C, H, W), pixels from 0 to 255."""
    labels: Tensor
    """int64 (N,), positions in the data set's class names."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Samples":
        return Samples(self.images[index], self.labels[index])

    def __add__(self, other: "Samples") -> "Samples":
        return Samples(
            torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        )

    def to(self, device: torch.device | str) -> "Samples":
        """Returns the same samples on `device`."""
        return Samples(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class DataSet:
    """A loaded data set, in content order."""

    train: Samples
    """D: all training images."""
    test_all: Samples
    """All held-out images, before the split into holdout and test."""
    train_hashes: NDArray[np.uint8]
    """(N, 32): SHA-256 of the shape and pixels of each image in `train`."""
    test_hashes: NDArray[np.uint8]
    """(N, 32): SHA-256 of the shape and pixels of each image in `test_all`."""
    class_names: tuple[str, ...]
    """(K,), in label order."""
    fingerprint: str
    """Hex SHA-256 of the class names, the image shape, and the hash and label of every image."""


def load(spec: DataSpec, *, check: bool = True) -> DataSet:
    """Loads a data set. CIFAR is downloaded if it is not on this machine.

    Args:
        spec: the data set to load.
        check: True refuses data with another fingerprint than the spec's, if the spec has one.

    Raises:
        UserError: the data is missing, damaged, too small to be split, or has another fingerprint.
    """
    raw = SOURCES[spec.kind](spec)
    train, train_hashes = _in_content_order(raw.train)
    if raw.held_out is not None:
        held_out, test_hashes = _in_content_order(raw.held_out)
    else:
        is_held_out = _cut(train.labels, train_hashes, spec.test_share, f"{spec.name}/test")
        held_out, test_hashes = train[is_held_out], train_hashes[is_held_out.numpy()]
        train, train_hashes = train[~is_held_out], train_hashes[~is_held_out.numpy()]

    counts = torch.bincount(train.labels, minlength=len(raw.class_names))
    for name, count in zip(raw.class_names, counts.tolist(), strict=True):
        if count == 0:
            raise UserError(
                f"data {spec.name}: class {name!r} has no training image left at test_share = "
                f"{spec.test_share}; lower test_share, or add images"
            )
    fingerprint = digest(
        {
            "classes": raw.class_names,
            "shape": list(train.images.shape[1:]),
            "train": _hashes_and_labels(train, train_hashes),
            "held-out": _hashes_and_labels(held_out, test_hashes),
        }
    )
    if check and spec.fingerprint not in (None, fingerprint):
        raise UserError(
            f"data {spec.name} has fingerprint {fingerprint}, the task requires "
            f"{spec.fingerprint}; get the original images, or write your own task for these images"
        )
    return DataSet(train, held_out, train_hashes, test_hashes, raw.class_names, fingerprint)


def split_held_out(dataset: DataSet, spec: DataSpec) -> tuple[Samples, Samples]:
    """Splits the held-out images into `holdout` and `test`, every class at the same share.

    Args:
        dataset: the data set whose `test_all` is split.
        spec: its spec, which gives the share.

    Returns:
        `holdout`, which methods may request, and `test`, which is scored. Both are in content
        order.

    Raises:
        UserError: one of the two would be empty.
    """
    is_holdout = _cut(
        dataset.test_all.labels, dataset.test_hashes, spec.holdout_share, f"{spec.name}/holdout"
    )
    if is_holdout.all() or not is_holdout.any():
        raise UserError(
            f"data {spec.name}: {len(is_holdout)} held-out images cannot be split at holdout_share "
            f"= {spec.holdout_share}; add held-out images"
        )
    return dataset.test_all[is_holdout], dataset.test_all[~is_holdout]


def forget_indices(dataset: DataSet, task: Task, case: Case) -> NDArray[np.int64]:
    """The positions in `dataset.train` of a case's forget set.

    Args:
        dataset: the task's data set.
        task: the task, whose `forget.draw` is part of the key.
        case: a case of the task.

    Returns:
        int64 (N_f,), rising. The forget set of a smaller case is part of that of a larger case with
        the same class and draw.

    Raises:
        UserError: the case asks for more images than may be drawn, or leaves nothing to retain.
    """
    is_candidate = np.ones(len(dataset.train), dtype=np.bool_)
    if case.class_name is not None:
        is_candidate = dataset.train.labels.numpy() == dataset.class_names.index(case.class_name)
    if is_candidate.all() and case.class_name:
        raise UserError(f"case {case.id} forgets all images, and {task.data.name} has no others")
    if case.size is None:
        return np.flatnonzero(is_candidate)
    whole = int(is_candidate.sum())
    if case.size >= whole:
        of = f"class {case.class_name!r}" if case.class_name else task.data.name
        raise UserError(
            f"case {case.id} needs {case.size} images of the {whole} of {of}, and some must stay; "
            "lower the size"
        )
    candidates = np.flatnonzero(is_candidate & _is_single(dataset))
    origin = case.class_name or "random"
    if case.size > len(candidates):
        copies = whole - len(candidates)
        raise UserError(
            f"case {case.id} needs {case.size} images; {task.data.name} has {len(candidates)} to "
            f"draw from ({copies} more have copies with the same pixels); lower the size"
        )
    key = f"{task.data.name}/{origin}/{task.forget.draw}"
    return _draw(dataset.train_hashes, candidates, case.size, key)


def forget_sha256(dataset: DataSet, indices: NDArray[np.int64]) -> str:
    """The identity of a forget set: hex SHA-256 of the hashes of its images, in content order.

    Args:
        dataset: the data set that the forget set is part of.
        indices: int64 (N_f,), positions in `dataset.train`, in any order.
    """
    return hashlib.sha256(dataset.train_hashes[np.sort(indices)].tobytes()).hexdigest()


def shard_numbers(images_NCHW: Tensor, shards: int) -> NDArray[np.int64]:
    """The shard of each image, from 0: int64 (N,).

    It follows from the pixels alone, so it stays where it is whatever else is in D, and copies of
    an image share a shard. Sizes of shards vary by chance.

    Args:
        images_NCHW: as they lie in a data set, before augmentation.
        shards: how many shards there are.
    """
    keyed = [
        hashlib.sha256(b"shard/" + row).digest()
        for row in content_hashes(images_NCHW.cpu().numpy())
    ]
    return np.array([int.from_bytes(row) % shards for row in keyed], dtype=np.int64)


def split(samples: Samples, indices: Tensor) -> tuple[Samples, Samples]:
    """The samples at some positions, and all others; both in the order of the samples.

    Args:
        samples: to be divided.
        indices: positions, int64 (N,).
    """
    chosen = torch.zeros(len(samples), dtype=torch.bool)
    chosen[indices] = True
    chosen = chosen.to(samples.labels.device)
    return samples[chosen], samples[~chosen]


def content_hashes(images_NCHW: NDArray[np.uint8]) -> list[bytes]:
    """SHA-256 of the shape and pixels of each of N images: N values of 32 bytes."""
    # The shape is part of the hash. Otherwise a wide and a tall image with the same bytes would be
    # copies.
    shape = hashlib.sha256("{}x{}x{}:".format(*images_NCHW.shape[1:]).encode())
    hashes = []
    for pixels in np.ascontiguousarray(images_NCHW).reshape(len(images_NCHW), -1):
        of_image = shape.copy()
        of_image.update(pixels.data)
        hashes.append(of_image.digest())
    return hashes


def _in_content_order(raw: RawImages) -> tuple[Samples, NDArray[np.uint8]]:
    """Sorts images by (hash, label); returns the samples and their hashes (N, 32)."""
    num_images = len(raw.labels)
    hashes = content_hashes(raw.images)
    labels = raw.labels.tolist()
    order = sorted(range(num_images), key=lambda i: (hashes[i], labels[i]))
    in_order = b"".join(hashes[i] for i in order)
    samples = Samples(torch.from_numpy(raw.images[order]), torch.from_numpy(raw.labels[order]))
    return samples, np.frombuffer(in_order, dtype=np.uint8).reshape(num_images, 32)


def _hashes_and_labels(samples: Samples, hashes: NDArray[np.uint8]) -> list[object]:
    return [[row.tobytes().hex() for row in hashes], samples.labels.tolist()]


def _draw(
    hashes: NDArray[np.uint8], candidates: NDArray[np.int64], size: int, key: str
) -> NDArray[np.int64]:
    """The `size` candidates with the smallest keyed hashes, as rising positions: int64 (size,)."""
    assert size <= len(candidates)
    keyed = [hashlib.sha256(key.encode() + row.tobytes()).digest() for row in hashes[candidates]]
    # Equal pixels have equal keyed hashes. The stable sort leaves such images in content order.
    nearest = sorted(range(len(keyed)), key=keyed.__getitem__)[:size]
    return np.sort(candidates[nearest])


def _cut(labels: Tensor, hashes: NDArray[np.uint8], share: float, key: str) -> Tensor:
    """Marks `share` (fraction) of each class, rounded to whole images, by keyed hash: bool (N,)."""
    labels_N = labels.numpy()
    is_in = torch.zeros(len(labels), dtype=torch.bool)
    for label in np.unique(labels_N):
        candidates = np.flatnonzero(labels_N == label)
        is_in[_draw(hashes, candidates, round(share * len(candidates)), key)] = True
    return is_in


def _is_single(dataset: DataSet) -> NDArray[np.bool_]:
    """Marks the training images whose pixels occur only once in the whole data set: bool (N,)."""
    train = [row.tobytes() for row in dataset.train_hashes]
    count = Counter(train)
    count.update(row.tobytes() for row in dataset.test_hashes)
    return np.array([count[pixel_hash] == 1 for pixel_hash in train])
