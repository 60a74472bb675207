"""Models on the union of the forget sets: who was trained on what, and what lies in the cache."""

import numpy as np

from mubench.gold.union import UNIONS, trained_on, union_indices, union_labels, union_logits
from mubench.training import loop
from tests.helpers.stores import copy_of, keys


def test_the_union_holds_each_sample_of_a_forget_set_once(tiny):
    indices = union_indices(tiny)
    assert indices.tolist() == sorted({i for case in tiny.cases for i in tiny.forget_indices(case)})
    assert len(indices) == 24  # the sets of 6 are parts of those of 12
    assert union_labels(tiny).tolist() == tiny.train.labels[indices].tolist()


def test_a_gold_was_trained_on_all_of_the_union_but_its_own_case(tiny):
    small, large = tiny.cases[:2]
    indices = union_indices(tiny)
    for case in (small, large):
        left_out = set(indices[~trained_on(tiny, tiny.golds(case)[0])])
        assert left_out == set(tiny.forget_indices(case))
    assert trained_on(tiny, tiny.originals[0]).all()


def test_a_model_is_read_out_when_it_is_trained(library, tiny):
    assert len(keys(library.store, UNIONS)) == len(keys(library.store, "models"))
    for ref in [tiny.originals[0], *tiny.golds(tiny.cases[0])]:
        samples = tiny.train[union_indices(tiny)]
        expected = loop.predict(library.model(ref), samples, tiny.pipeline).numpy()
        assert np.allclose(union_logits(library, ref), expected, rtol=1e-3, atol=1e-3)


def test_an_older_model_is_read_out_from_its_weights_if_they_are_here(library, tmp_path):
    own = copy_of(library, tmp_path / "copy")
    ref = own.loaded.golds(own.loaded.cases[0])[0]
    before = union_logits(own, ref)
    for key in keys(own.store, UNIONS):
        own.store.remove(UNIONS, key)
    assert np.array_equal(union_logits(own, ref), before)
    for key in keys(own.store, UNIONS):
        own.store.remove(UNIONS, key)
    own.store.remove("models", ref.key)
    assert own.readout(ref, ref.case)
    assert union_logits(own, ref) is None
