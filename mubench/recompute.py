"""The numbers that pages print, computed for many models of one case at once.

`metrics.score` is the definition; this is the same arithmetic on stacked arrays, some hundred times
faster on thousands of readouts. A test holds the two together. Membership inference, the scores of
per-sample reports and most standard errors are left to `metrics.score`.

A readout is read here without its test logits, nine tenths of its bytes: the test predictions
beside them are what accuracy is counted from.

Suffixes: R models, G golds, N forget samples, M test samples, K classes.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from .attacks import Bools, Floats, Ints
from .errors import DoesNotHold
from .metrics import constant_guess, js_divergence, l2_distance
from .records import ARRAYS, check_arrays

Arrays = Mapping[str, npt.NDArray[Any]]

BANDED = ("delta_signed", "activation_distance", "label_accuracy", "label_gain")
"""Metrics whose standard error over samples is computed too."""

ZIP64 = 0xFFFFFFFF
"""Stands in a member's header where its length takes more room than there is."""


def read_arrays(content: bytes, source: str) -> Arrays:
    """The arrays of a readout, but for its test logits.

    Args:
        content: an npz as `records.readout_bytes` writes it, its hash checked.
        source: what to call it in a message.

    Raises:
        DoesNotHold: it is not one.
    """
    arrays = {}
    try:
        for name, packed in _members(content):
            if name == "test_logits":
                continue
            # All readouts of a case have the same labels.
            arrays[name] = (_unpack_again if name.endswith("_labels") else _unpack)(packed)
        check_arrays(arrays, [name for name in ARRAYS if name != "test_logits"])
        _check(arrays)
    except DoesNotHold as error:
        raise DoesNotHold(f"{source} is not a readout: {error}") from None
    return arrays


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and compressed bytes of each array of an npz, from the headers before them.

    zipfile reads the directory at the end instead, which takes ten times as long.
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


def _unpack(packed: bytes) -> npt.NDArray[Any]:
    """The array, read-only, of a compressed npy."""
    try:
        raw = zlib.decompress(packed, wbits=-zlib.MAX_WBITS)
    except zlib.error as error:
        raise DoesNotHold(str(error)) from None
    (length,) = _numbers("<H", raw, 8)
    shape, is_fortran, dtype = _header(raw[: 10 + length])
    try:
        values = np.frombuffer(raw, dtype, offset=10 + length)
        return values.reshape(shape, order="F" if is_fortran else "C")
    except ValueError as error:  # another length than the shape asks for
        raise DoesNotHold(str(error)) from None


_unpack_again = lru_cache(maxsize=32)(_unpack)


@lru_cache
def _header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an npy; readouts of one case have the same."""
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise DoesNotHold(str(error)) from None
    if version != (1, 0):
        raise DoesNotHold("its arrays have an unknown version")
    return header


def _check(arrays: Arrays) -> None:
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


@dataclass(frozen=True, eq=False)
class Models:
    """R models of one case, as far as they are compared."""

    predictions_RN: Ints
    right_RN: Bools
    """Where on D_f each is right."""
    probs_RNK: Floats
    """Softmax outputs on D_f."""
    test_right_RM: Bools
    accuracies_R3: Floats
    """On the forget, the retain and the test set."""
    retain_total: int

    @classmethod
    def of(cls, readouts: Sequence[Arrays]) -> "Models":
        """Stacks readouts of the same case."""
        logits_RNK = np.stack([r["forget_logits"] for r in readouts])
        predictions_RN = logits_RNK.argmax(axis=2)
        right_RN = predictions_RN == readouts[0]["forget_labels"]
        test_predictions_RM = np.stack([r["test_predictions"] for r in readouts])
        test_right_RM = test_predictions_RM == readouts[0]["test_labels"]
        retain_R = np.array([r["retain"][0] / r["retain"][1] for r in readouts])
        accuracies = [right_RN.mean(axis=1), retain_R, test_right_RM.mean(axis=1)]
        return cls(
            predictions_RN=predictions_RN,
            right_RN=right_RN,
            probs_RNK=softmax(logits_RNK.astype(np.float64), axis=2),
            test_right_RM=test_right_RM,
            accuracies_R3=np.stack(accuracies, axis=1),
            retain_total=int(readouts[0]["retain"][1]),
        )

    def __getitem__(self, rows: Sequence[int]) -> "Models":
        """Some of them."""
        index = list(rows)
        return Models(
            self.predictions_RN[index], self.right_RN[index], self.probs_RNK[index],
            self.test_right_RM[index], self.accuracies_R3[index], self.retain_total,
        )  # fmt: skip


def same_case(readout: Arrays, other: Arrays) -> bool:
    """Whether two readouts are of the same samples."""
    return (
        readout["forget_logits"].shape == other["forget_logits"].shape
        and np.array_equal(readout["forget_labels"], other["forget_labels"])
        and np.array_equal(readout["test_labels"], other["test_labels"])
        and int(readout["retain"][1]) == int(other["retain"][1])
    )


def per_sample(models: Models, golds: Models) -> dict[str, Floats]:
    """The metrics that are means over the samples of D_f, before the mean: name to (R, N)."""
    gold_right_N = golds.right_RN.mean(axis=0)
    agrees_RN = (models.right_RN[:, None] == golds.right_RN).mean(axis=1)
    return {
        "delta_signed": 100 * (models.right_RN - gold_right_N),
        "activation_distance": _over_golds(l2_distance, models, golds),
        "activation_distance_to_mean": l2_distance(models.probs_RNK, golds.probs_RNK.mean(axis=0)),
        "js_divergence": _over_golds(js_divergence, models, golds),
        "completeness": (models.predictions_RN[:, None] == golds.predictions_RN).mean(axis=1),
        "label_accuracy": agrees_RN,
        "label_gain": agrees_RN - constant_guess(gold_right_N),
    }


def recompute(models: Models, golds: Models) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The metrics of each model, mean over the golds, as `metrics.score` defines them.

    Returns:
        Metric name to values (R,), and for some metrics their standard errors over samples (R,).
    """
    gaps_RG3 = np.abs(models.accuracies_R3[:, None] - golds.accuracies_R3)
    sampled = per_sample(models, golds)
    ones_R = np.ones(len(models.right_RN))
    values = {name: values_RN.mean(axis=1) for name, values_RN in sampled.items()}
    values |= {
        "delta": 100 * gaps_RG3[:, :, 0].mean(axis=1),
        "forget_accuracy": models.accuracies_R3[:, 0],
        "retain_accuracy": models.accuracies_R3[:, 1],
        "test_accuracy": models.accuracies_R3[:, 2],
        "gold_forget_accuracy": golds.accuracies_R3[:, 0].mean() * ones_R,
        "gold_test_accuracy": golds.accuracies_R3[:, 2].mean() * ones_R,
        "all_easy_rate": golds.right_RN.mean() * ones_R,
        "tow": np.prod(1 - gaps_RG3, axis=2).mean(axis=1),
        "avg_gap": gaps_RG3.mean(axis=(1, 2)),
        **_balanced(models, golds),
    }
    count = models.right_RN.shape[1]
    stderrs = {
        name: sampled[name].std(axis=1, ddof=1) / np.sqrt(count) for name in BANDED if count > 1
    }
    return values, stderrs


def leave_one_out(golds: Models) -> list[dict[str, Floats]]:
    """What `recompute` gives for each gold against the others; of at least two."""
    rows = range(len(golds.right_RN))
    return [recompute(golds[[i]], golds[[j for j in rows if j != i]])[0] for i in rows]


def _over_golds(distance: Any, models: Models, golds: Models) -> Floats:
    """Mean over golds of a distance between outputs, (R, N); gold by gold to save memory."""
    total: Floats = sum(distance(models.probs_RNK, probs_NK) for probs_NK in golds.probs_RNK)
    return total / len(golds.probs_RNK)


def _balanced(models: Models, golds: Models) -> dict[str, Floats]:
    """Mean of the recalls on a gold's easy and hard samples, over the golds that have both."""
    recalls = [
        (models.right_RN[:, right_N].mean(axis=1) + 1 - models.right_RN[:, ~right_N].mean(axis=1))
        / 2
        for right_N in golds.right_RN
        if 0 < right_N.mean() < 1
    ]
    return {"label_balanced_accuracy": np.mean(recalls, axis=0)} if recalls else {}
