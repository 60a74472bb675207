"""Training a gold: from scratch, once, and on from a checkpoint."""

import pytest
import torch

from mubench._util.hashing import derive_seed
from mubench.gold import train as training
from mubench.gold.library import GoldLibrary
from mubench.training import loop
from tests.helpers.stores import keys


def test_golds_differ_between_seeds_and_equal_a_training_by_hand(library):
    tiny = library.loaded
    one, two = (library.model(ref) for ref in tiny.golds(tiny.cases[0]))
    assert not torch.equal(next(one.parameters()), next(two.parameters()))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    by_hand = tiny.fresh(derive_seed("initialise", 1))
    retain = tiny.split(tiny.cases[0])[1]
    seed = derive_seed("train", 1)
    loop.fit(by_hand, retain, tiny.task.train, tiny.pipeline, seed=seed)
    torch.set_num_threads(before)
    pairs = zip(one.state_dict().values(), by_hand.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Stop(Exception):
    pass


def test_a_training_that_was_stopped_goes_on_from_its_last_checkpoint(library, empty, monkeypatch):
    tiny, anew = library.loaded, GoldLibrary(library.loaded, empty)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    ref = tiny.golds(tiny.cases[0])[0]

    def stop(step):
        if step.epoch == 3:
            raise Stop

    steps = []
    with loop.threads(1):
        with pytest.raises(Stop):
            training.train(anew, ref, stop)
        assert keys(empty, "checkpoints") == [ref.key]
        assert keys(empty, "models") == []
        training.train(anew, ref, steps.append)
    assert {step.epoch for step in steps} == {3}
    assert keys(empty, "checkpoints") == []
    whole, resumed = (own.model_entry(ref) for own in (library, anew))
    name = "weights.safetensors"
    assert resumed.content(name) == whole.content(name)
    assert resumed.provenance["log"] == whole.provenance["log"]


def test_a_cached_model_is_not_trained_again(library):
    steps, tiny = [], library.loaded
    for ref in (tiny.originals[0], *tiny.golds(tiny.cases[0])):
        training.train(library, ref, steps.append)
    assert steps == []
