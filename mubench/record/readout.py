"""Readouts: what every metric of a model is computed from, and the npz in which it lies on disk.

Thousands of records are read for a page. Most of a readout's bytes are its test logits, which no
page needs: the test predictions beside them are what accuracy is counted from. So the arrays can be
read without the test logits.
"""

import io
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from mubench._util.arrays import Bools, Floats, Ints, Logits
from mubench._util.errors import DoesNotHold
from mubench._util.hashing import sha256_of

from .membership import Attack, loss_per_sample, mia_lr_loss

Arrays = Mapping[str, npt.NDArray[Any]]
"""The arrays of a readout, by their names on disk."""

ARRAYS = {
    "forget_logits": (2, "f"), "forget_labels": (1, "ui"), "test_logits": (2, "f"),
    "test_predictions": (1, "ui"), "test_labels": (1, "ui"), "retain": (1, "ui"),
}  # fmt: skip
"""Name of each array on disk to its number of axes and numpy's letters for its kinds of numbers."""

MOST_BYTES = 1_000_000_000
"""Most bytes of an unpacked array: ten times those of ImageNet's test logits."""

MOST_LABEL_BYTES = 10_000_000
"""Most bytes of unpacked labels: a hundred times those of ImageNet's test set."""

HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?s:..)\{'descr': '(?P<dtype>[<>|](?:f[248]|[iu][1248]))', "
    rb"'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>|\d{1,18},|\d{1,18}(?:, \d{1,18}){1,3})\), \} *\n"
)
"""What comes before the numbers of an array."""

ZIP64 = 0xFFFFFFFF
"""Stands in a member's header if its length takes more room than the header has."""


@dataclass(frozen=True, eq=False)
class Readout:
    """What every metric of one model is computed from.

    Raises:
        DoesNotHold: shapes disagree, a set is empty, a logit is not finite, a label is no class, or
            the test predictions are not those of the test logits.
    """

    forget_logits_NK: Logits
    """Logits on D_f in D_f order, float32 (N, K)."""
    forget_labels_N: Ints
    """Classes of D_f, (N,)."""
    test_logits_MK: Logits
    """Logits on the scored test set, (M, K): float32, or float16 as `compact` makes it."""
    test_predictions_M: Ints
    """The argmax of the float32 logits, (M,), which ties made by rounding cannot change."""
    test_labels_M: Ints
    """Classes of the scored test set, (M,)."""
    retain_correct: int
    """Samples of D_r on which the model is right."""
    retain_total: int
    """|D_r|."""

    def __post_init__(self) -> None:
        n, k = self.forget_logits_NK.shape
        m = len(self.test_labels_M)
        if not (
            self.test_logits_MK.shape == (m, k)
            and self.forget_labels_N.shape == (n,)
            and self.test_predictions_M.shape == self.test_labels_M.shape == (m,)
        ):
            raise DoesNotHold("the readout's shapes disagree")
        if not (n and m and 0 <= self.retain_correct <= self.retain_total > 0):
            raise DoesNotHold("the readout has an empty set or an impossible retain count")
        for name, logits in (("forget", self.forget_logits_NK), ("test", self.test_logits_MK)):
            if not np.isfinite(logits).all():
                raise DoesNotHold(f"the readout's {name} logits are not all finite")
        for classes in (self.forget_labels_N, self.test_labels_M, self.test_predictions_M):
            if classes.min() < 0 or classes.max() >= k:
                raise DoesNotHold(f"the readout has a label outside its {k} classes")
        # Rounding is monotone: the float32 argmax is still a largest logit of its row.
        chosen = np.take_along_axis(self.test_logits_MK, self.test_predictions_M[:, None], axis=1)
        if (chosen[:, 0] != self.test_logits_MK.max(axis=1)).any():
            raise DoesNotHold(
                "the readout's test predictions are not the argmax of its test logits"
            )

    @cached_property
    def forget_predictions_N(self) -> Ints:
        """The predicted classes on D_f, (N,)."""
        predictions_N: Ints = self.forget_logits_NK.argmax(axis=1)
        return predictions_N

    @cached_property
    def forget_right_N(self) -> Bools:
        """True where the model is right on D_f, (N,)."""
        return np.equal(self.forget_predictions_N, self.forget_labels_N)

    @cached_property
    def forget_probs_NK(self) -> Floats:
        """Softmax outputs on D_f, (N, K)."""
        return softmax(self.forget_logits_NK.astype(np.float64), axis=1)

    @cached_property
    def test_right_M(self) -> Bools:
        """True where the model is right on the test set, (M,)."""
        return np.equal(self.test_predictions_M, self.test_labels_M)

    @cached_property
    def arrays(self) -> Arrays:
        """The arrays that are stacked with those of other models, under their names on disk."""
        return {
            "forget_logits": self.forget_logits_NK,
            "forget_labels": self.forget_labels_N,
            "test_predictions": self.test_predictions_M,
            "test_labels": self.test_labels_M,
            "retain": np.array([self.retain_correct, self.retain_total], np.int64),
        }

    @cached_property
    def attack(self) -> Attack | None:
        """Membership inference: D_f against all test images of D_f's classes.

        Both sides are rounded to float16, so that rounding tells nothing about membership and a
        stored readout gives the same number as a fresh one.
        """
        peers_M = np.isin(self.test_labels_M, self.forget_labels_N)
        return mia_lr_loss(
            loss_per_sample(compact(self.forget_logits_NK), self.forget_labels_N),
            loss_per_sample(compact(self.test_logits_MK[peers_M]), self.test_labels_M[peers_M]),
        )


@dataclass(frozen=True, eq=False)
class StoredReadout:
    """A readout as bytes on disk, and parsed when someone asks for the numbers."""

    content: bytes
    """The npz."""
    source: str
    """What to call the readout in a message, such as a file name."""

    @classmethod
    def of(cls, readout: Readout, source: str) -> "StoredReadout":
        """The stored form of a readout."""
        return cls(readout_bytes(readout), source)

    @cached_property
    def readout(self) -> Readout:
        """The numbers, as a reader of the file gets them.

        Raises:
            DoesNotHold: the bytes are no readout.
        """
        return parse_readout(self.content, self.source)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes."""
        return sha256_of(self.content)


def compact(logits_MK: Logits) -> npt.NDArray[np.float16]:
    """Logits, (M, K), as float16 within the range of that type.

    Logits of a method that ascends the loss can reach beyond 65504, which float16 calls infinite.
    """
    limits = np.finfo(np.float16)
    return np.clip(logits_MK, limits.min, limits.max).astype(np.float16)


def readout_bytes(readout: Readout) -> bytes:
    """A readout as a compressed npz, the same bytes for the same numbers."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        forget_logits=readout.forget_logits_NK.astype(np.float32),
        forget_labels=readout.forget_labels_N.astype(np.int16),
        test_logits=readout.test_logits_MK.astype(np.float16),
        test_predictions=readout.test_predictions_M.astype(np.int16),
        test_labels=readout.test_labels_M.astype(np.int16),
        retain=np.array([readout.retain_correct, readout.retain_total], np.int64),
    )
    return buffer.getvalue()


def parse_readout(content: bytes, source: str) -> Readout:
    """The readout in an npz, with every check of `Readout`.

    Args:
        content: an npz as `readout_bytes` writes one.
        source: what to call the content in a message.

    Raises:
        DoesNotHold: the content is no readout; the message names `source`.
    """
    try:
        arrays = _read(content, ARRAYS)
        return Readout(
            forget_logits_NK=arrays["forget_logits"],
            forget_labels_N=arrays["forget_labels"].astype(np.int64),
            test_logits_MK=arrays["test_logits"],
            test_predictions_M=arrays["test_predictions"].astype(np.int64),
            test_labels_M=arrays["test_labels"].astype(np.int64),
            retain_correct=int(arrays["retain"][0]),
            retain_total=int(arrays["retain"][1]),
        )
    except DoesNotHold as error:
        raise DoesNotHold(f"{source} is not a readout: {error}") from None


def read_arrays(content: bytes, source: str) -> Arrays:
    """The arrays of a readout without its test logits, which takes a tenth of the time.

    Args:
        content: an npz as `readout_bytes` writes one.
        source: what to call the content in a message.

    Raises:
        DoesNotHold: the content is no readout; the message names `source`.
    """
    try:
        arrays = _read(content, [name for name in ARRAYS if name != "test_logits"])
        _check_values(arrays)
    except DoesNotHold as error:
        raise DoesNotHold(f"{source} is not a readout: {error}") from None
    return arrays


def same_case(readout: Arrays, other: Arrays) -> bool:
    """True if two readouts are of the same samples."""
    return (
        readout["forget_logits"].shape == other["forget_logits"].shape
        and np.array_equal(readout["forget_labels"], other["forget_labels"])
        and np.array_equal(readout["test_labels"], other["test_labels"])
        and int(readout["retain"][1]) == int(other["retain"][1])
    )


def _read(content: bytes, wanted: Collection[str]) -> Arrays:
    """The wanted arrays of a readout."""
    arrays = read_npz(content, {name: ARRAYS[name] for name in wanted})
    if arrays["retain"].shape != (2,):
        raise DoesNotHold("its retain counts are not two")
    return arrays


def read_npz(content: bytes, wanted: Mapping[str, tuple[int, str]]) -> Arrays:
    """Some arrays of numbers of a compressed npz, which may come from a stranger.

    Args:
        content: the npz.
        wanted: name of each array to its number of axes and numpy's letters for its kinds of
            numbers.

    Raises:
        DoesNotHold: an array is missing, is there twice, is another, or cannot be read.
    """
    arrays = {}
    for name, packed in _members(content):
        if name in arrays:
            raise DoesNotHold(f"it has two arrays {name}")
        if name in wanted:
            # Because all readouts of a case have the same labels, those are unpacked once.
            arrays[name] = (_unpack_again if name.endswith("_labels") else _unpack)(packed)
    for name, (axes, kinds) in wanted.items():
        if name not in arrays:
            raise DoesNotHold(f"it has no array {name}")
        if arrays[name].ndim != axes or arrays[name].dtype.kind not in kinds:
            raise DoesNotHold(f"its {name} are {arrays[name].dtype} with {arrays[name].ndim} axes")
    return arrays


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and compressed bytes of each array of an npz, from the headers before them.

    Because zipfile reads the directory at the end, it would take ten times as long.
    """
    if content[-22:-18] != b"PK\5\6":
        raise DoesNotHold("it is cut short")
    start = 0
    while content.startswith(b"PK\3\4", start):
        size, _, name_length, extra_length = _numbers("<2I2H", content, start + 18)
        name_start = start + 30
        extra_start = name_start + name_length
        if size == ZIP64:  # numpy's: the extra field is a tag, its length, and the sizes
            tag, size = _numbers("<H2x8xQ", content, extra_start)
            if tag != 1:
                raise DoesNotHold("an array's length is nowhere")
        packed_start = extra_start + extra_length
        start = packed_start + size
        name = content[name_start:extra_start].decode("ascii", "replace").removesuffix(".npy")
        yield name, content[packed_start:start]


def _numbers(form: str, content: bytes, start: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, content, start)
    except struct.error:
        raise DoesNotHold("it is cut short") from None


def _unpack(packed: bytes, most_bytes: int | None = None) -> npt.NDArray[Any]:
    """The array of a compressed npy, read-only."""
    most_bytes = most_bytes or MOST_BYTES
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        raw = unpacker.decompress(packed, most_bytes)
    except zlib.error as error:
        raise DoesNotHold(str(error)) from None
    if not unpacker.eof:
        raise DoesNotHold(f"an array is cut short, or larger than {most_bytes} bytes")
    (length,) = _numbers("<H", raw, 8)
    shape, is_fortran, dtype = _header(raw[: 10 + length])
    try:
        values = np.frombuffer(raw, dtype, offset=10 + length)
        return values.reshape(shape, order="F" if is_fortran else "C")
    except ValueError as error:  # another length than the shape asks for
        raise DoesNotHold(str(error)) from None


@lru_cache(maxsize=32)
def _unpack_again(packed: bytes) -> npt.NDArray[Any]:
    """The array of a compressed npy that many readouts have; small, because 32 are kept."""
    return _unpack(packed, MOST_LABEL_BYTES)


@lru_cache
def _header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an npy, parsed once for all readouts of a case.

    Only headers of numbers are read, as numpy writes them. Numpy's own reader also takes Python
    expressions, and breaks over some of them in many ways.
    """
    header = HEADER.fullmatch(raw)
    if not header:
        raise DoesNotHold("an array has no header of numbers as numpy writes it")
    shape = tuple(int(rows) for rows in re.findall(rb"\d+", header["shape"]))
    return shape, header["fortran"] == b"True", np.dtype(header["dtype"].decode())


def _check_values(arrays: Arrays) -> None:
    """Checks what `Readout` checks, as far as that needs no test logits."""
    n, k = arrays["forget_logits"].shape
    predictions_M, (correct, total) = arrays["test_predictions"], arrays["retain"]
    if arrays["forget_labels"].shape != (n,) or arrays["test_labels"].shape != predictions_M.shape:
        raise DoesNotHold("its shapes disagree")
    if not (n and len(predictions_M) and 0 <= correct <= total and total > 0):
        raise DoesNotHold("it has an empty set or an impossible retain count")
    if not np.isfinite(arrays["forget_logits"]).all():
        raise DoesNotHold("its forget logits are not all finite")
    if predictions_M.min() < 0 or predictions_M.max() >= k:
        raise DoesNotHold(f"it predicts another class than its {k}")
