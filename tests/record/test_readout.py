"""Readouts: what is refused, how they lie on disk and are read."""

import io
from dataclasses import replace

import numpy as np
import pytest

from mubench._util.hashing import sha256_of
from mubench.record.readout import compact, parse_readout, read_arrays
from tests.helpers.lab import edit
from tests.helpers.readouts import U, random_readout
from tests.helpers.rejections import only_rejected


def test_nonmembers_are_test_images_of_the_forgotten_classes():
    model = random_readout(1, 40, 300, 3)
    one_class = replace(model, forget_labels_N=np.full(40, 2))
    assert one_class.attack.count == 40 + int((model.test_labels_M == 2).sum())


def test_compact_stays_within_float16():
    logits = compact(np.array([[1e9, -1e9, 1.5]], np.float32))
    assert logits.dtype == np.float16
    assert logits.tolist() == [[65504, -65504, 1.5]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forget_labels_N": np.zeros(3, np.int64)}, "shapes disagree"),
        ({"test_predictions_M": np.zeros(4, np.int64)}, "shapes disagree"),
        ({"test_logits_MK": np.zeros((5, 3), np.float16)}, "shapes disagree"),
        ({"retain_correct": 101}, "impossible retain count"),
        ({"retain_correct": 0, "retain_total": 0}, "impossible retain count"),
        (
            {"forget_logits_NK": np.zeros((0, 2)), "forget_labels_N": np.zeros(0, np.int64)},
            "empty set",
        ),
        ({"forget_logits_NK": np.full((4, 2), np.nan)}, "forget logits are not all finite"),
        ({"test_logits_MK": np.full((5, 2), np.inf)}, "test logits are not all finite"),
        ({"forget_labels_N": np.full(4, 2)}, "outside its 2 classes"),
        ({"test_predictions_M": np.zeros(5, np.int64)}, "not the argmax"),
    ],
)
def test_a_broken_readout_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(U, **change)


@pytest.mark.parametrize("end", [None, 0, 4, 20, 200, 0.5, -100, -5])
def test_readout_that_is_none(lab, end):
    path, *_ = lab.add_entry("m")
    whole = path.with_suffix(".npz").read_bytes()
    end = len(whole) // 2 if end == 0.5 else end
    content = b"none" if end is None else whole[:end]
    path.with_suffix(".npz").write_bytes(content)
    edit(path, readout_sha256=sha256_of(content))
    assert "is not a readout" in only_rejected(lab, path)
    with pytest.raises(ValueError, match="x is not a readout"):
        parse_readout(content, "x")


def test_readout_is_read_as_numpy_reads_it(lab):
    content = lab.add("m", "a-50").with_suffix(".npz").read_bytes()
    with np.load(io.BytesIO(content)) as arrays:
        theirs = {name: arrays[name] for name in arrays if name != "test_logits"}
    ours = read_arrays(content, "")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert array.dtype == ours[name].dtype
        np.testing.assert_array_equal(array, ours[name])
