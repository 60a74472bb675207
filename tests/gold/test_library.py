"""What is cached: what a run lacks, and what becomes of a damaged file."""

import numpy as np
import pytest
import torch

from mubench._util.hashing import sha256_of
from mubench.gold import audit
from mubench.gold.build import build
from mubench.gold.library import GoldLibrary
from mubench.training import loop
from tests.helpers.stores import copy_of, keys


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_a_run_needs_is_cached_once(library):
    cases = library.loaded.cases
    assert library.missing(cases[:1]) == []
    absent = library.missing(cases[:2])
    assert [ref.label for ref in absent] == ["gold 1 of b-12", "gold 2 of b-12"]


def test_what_a_run_needs_is_the_original_and_the_golds_of_its_cases(library, empty):
    loaded = library.loaded
    needed = library.needed(loaded.cases[:2])
    assert needed == [loaded.originals[0], *loaded.golds(loaded.cases[0]),
                      *loaded.golds(loaded.cases[1])]  # fmt: skip
    assert library.needed(()) == [loaded.originals[0]]
    assert GoldLibrary(loaded, empty).missing(loaded.cases[:2]) == needed
    assert [library.is_ready(ref) for ref in needed] == [True, True, True, False, False]


def test_a_model_is_a_copy_in_eval_mode(library):
    first, second = (
        library.model(library.loaded.originals[0]),
        library.model(library.loaded.originals[0]),
    )
    assert not first.training
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in second.parameters())
    assert [line.epoch for line in library.training_log(library.loaded.originals[0])] == [1, 2, 3]


def test_readouts_are_of_the_golds_of_a_case_in_their_order(library):
    case = library.loaded.cases[0]
    readouts = library.readouts(case)
    forget, _ = library.loaded.split(case)
    assert len(readouts) == 2
    for ref, stored in zip(library.loaded.golds(case), readouts, strict=True):
        logits_NK = loop.predict(library.model(ref), forget, library.loaded.pipeline)
        assert np.allclose(stored.readout.forget_logits_NK, logits_NK.numpy(), atol=1e-5)
        assert stored.sha256 == sha256_of(stored.content)
    assert readouts[0].sha256 != readouts[1].sha256


def test_a_readout_is_cached_once_it_was_asked_for(library, tmp_path):
    own = copy_of(library, tmp_path / "copy")
    ref, other = own.loaded.golds(own.loaded.cases[0])
    for key in keys(own.store, "readouts"):
        own.store.remove("readouts", key)
    assert own.cached_readout(own.loaded.originals[0], own.loaded.cases[0]) is None
    assert own.cached_readout(ref, ref.case) is None
    made = own.readout(ref, ref.case)
    assert (
        own.cached_readout(ref, ref.case).content
        == made.content
        == library.readout(ref, ref.case).content
    )
    assert own.cached_readout(other, other.case) is None
    own.store.remove("models", ref.key)  # its weights are not needed any more
    assert own.readout(ref, ref.case).content == made.content
    assert own.is_ready(ref)


@pytest.mark.parametrize("kind", ["models", "readouts"])
def test_a_damaged_file_is_reported_and_replaced_by_the_same_numbers(
    library, tmp_path, capsys, kind
):
    own, tiny = copy_of(library, tmp_path / "copy"), library.loaded
    ref = tiny.golds(tiny.cases[0])[0]
    expected = own.readout(ref, ref.case).content
    names = {"models": (ref.key, "weights.safetensors"),
             "readouts": (tiny.readout_key(ref, ref.case), "readout.npz")}  # fmt: skip
    key, name = names[kind]
    flip_a_bit(own.store.root / kind / key / name)
    if kind == "models":
        own.store.remove("readouts", tiny.readout_key(ref, ref.case))
    build(own, own.missing(tiny.cases[:1]))
    message = capsys.readouterr().err
    assert "damaged file" in message
    assert name in message
    assert own.readout(ref, ref.case).content == expected
    assert audit.find_defects(own, ref) == []
