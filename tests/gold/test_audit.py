"""The audit of golds: what they are held to, and golds that are none."""

import json

import pytest

from mubench.gold import audit
from mubench.training.networks import contiguous_tensors
from tests.helpers.stores import copy_of


def test_a_gold_never_saw_its_forget_set_and_was_trained_from_scratch(library):
    tiny = library.loaded
    case = tiny.cases[0]
    for ref in [tiny.originals[0], *tiny.golds(case)]:
        assert audit.find_defects(library, ref) == []
        found = library.model_entry(ref).provenance["audit"]
        assert found["forget_samples_seen"] == 0
        assert found["samples"] == (240 if ref.case is None else 234)
        assert found["parameters_left_as_initialised"] == []


def rewrite(store, ref, change):
    entry = store.read("models", ref.key)
    provenance = json.loads(json.dumps(entry.provenance))
    files = {"weights.safetensors": entry.content("weights.safetensors")}
    change(provenance, files)
    store.write("models", ref.key, files, provenance, replace=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p, f: p["audit"].update(forget_samples_seen=3), "3 samples of D_f"),
        (lambda p, f: p["audit"].update(initial_sha256="0" * 64), "fresh initialisation"),
        (
            lambda p, f: p["audit"].update(parameters_left_as_initialised=["conv"]),
            "never trained conv",
        ),
        (lambda p, f: p["identity"].update(seed=9), "another model's"),
    ],
)
def test_the_audit_finds_a_gold_that_is_none(library, tmp_path, change, expected):
    own = copy_of(library, tmp_path / "copy")
    ref = own.loaded.golds(own.loaded.cases[0])[0]
    rewrite(own.store, ref, change)
    assert any(expected in defect for defect in audit.find_defects(own, ref))


def test_the_audit_finds_a_readout_of_other_weights(library, tmp_path):
    own = copy_of(library, tmp_path / "copy")
    one, two = own.loaded.golds(own.loaded.cases[0])
    other = own.model_entry(two).content("weights.safetensors")
    rewrite(own.store, one, lambda p, f: f.update({"weights.safetensors": other}))
    assert any("does not follow" in defect for defect in audit.find_defects(own, one))


def test_the_audit_counts_leaked_samples(tiny):
    """Fed a training set with D_f in it, the audit says how many it saw."""
    case = tiny.cases[0]
    ref = tiny.golds(case)[0]
    weights = contiguous_tensors(tiny.fresh(0).state_dict())
    found = audit.audit_training(tiny, ref, tiny.train, weights, weights)
    assert found["forget_samples_seen"] == 6
    assert len(found["parameters_left_as_initialised"]) == found["parameters"]
