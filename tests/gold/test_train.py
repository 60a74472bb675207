"""Training a gold: from scratch, once, and on from a checkpoint. Logs of updates, made once."""

import pytest
import safetensors.torch
import torch

from mubench._util.hashing import derive_seed
from mubench.gold import train as training
from mubench.gold.library import MODELS, UPDATE_LOGS, WEIGHTS, GoldLibrary
from mubench.training import loop
from mubench.training.networks import contiguous_tensors
from mubench.training.updates import fit_logged
from tests.helpers.stores import copy_of, keys


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


@pytest.fixture
def own(library, tmp_path):
    """A copy of the library without logs of updates, which another test may have made."""
    own = copy_of(library, tmp_path / "copy")
    for key in keys(own.store, UPDATE_LOGS):
        own.store.remove(UPDATE_LOGS, key)
    with loop.threads(1):  # as the models were trained
        yield own


@pytest.fixture
def ref(own):
    return own.loaded.update_log_ref(own.loaded.originals[0])


def test_a_log_is_that_of_the_originals_own_training_for_each_case(own, ref, capsys):
    loaded = own.loaded
    training.train(own, ref)
    assert capsys.readouterr().err == ""
    provenance = own.update_log_entry(ref).provenance
    assert provenance["replay_difference"] == 0
    assert provenance["steps"].keys() == {case.id for case in loaded.cases}
    assert 3 <= provenance["steps"]["b-6"] < provenance["steps_of_training"] == 24
    is_forget_CN = torch.stack([
        torch.isin(torch.arange(len(loaded.train)), torch.from_numpy(loaded.forget_indices(case)))
        for case in loaded.cases
    ])  # fmt: skip
    model = loaded.fresh(ref.original.seed_for("initialise"))
    seed = ref.original.seed_for("train")
    by_hand = fit_logged(
        model, loaded.train, is_forget_CN, loaded.task.train, loaded.pipeline, seed=seed
    )
    for case, updates in zip(loaded.cases, by_hand, strict=True):
        assert updates.num_steps == provenance["steps"][case.id]
        log = own.update_log(ref, case)
        assert log.keys() == updates.sums.keys()
        assert all(torch.equal(log[name], value) for name, value in updates.sums.items())


def test_a_log_is_made_once_for_each_original(own, ref, monkeypatch):
    cases = own.loaded.cases[:2]
    assert own.missing_update_logs(cases, [0, 1]) == own.missing_update_logs(cases) == [ref]
    training.train(own, ref)
    assert own.missing_update_logs(cases) == []
    monkeypatch.setattr(training, "fit_logged", None)
    training.train(own, ref)
    own.store.remove(UPDATE_LOGS, ref.key)
    with pytest.raises(TypeError):
        training.train(own, ref)


def test_an_original_with_other_weights_is_said_and_kept_in_the_provenance(own, ref, capsys):
    original = ref.original
    entry = own.model_entry(original)
    weights = own.model(original).state_dict()
    name = next(iter(dict(own.loaded.fresh(0).named_parameters())))
    trained = weights[name].clone()
    weights[name] += 0.25
    content = safetensors.torch.save(contiguous_tensors(weights))
    own.store.write(MODELS, original.key, {WEIGHTS: content}, entry.provenance, replace=True)
    training.train(own, ref)
    (line,) = capsys.readouterr().err.splitlines()
    assert "original 0, trained again here, ends with other weights, up to 0.25 apart" in line
    assert "methods that take the log start from the original of the training here" in line
    assert own.update_log_entry(ref).provenance["replay_difference"] == pytest.approx(0.25)
    kept = own.model(ref).state_dict()
    assert torch.equal(kept[name], trained)
    del kept[name], weights[name]
    assert all(torch.equal(value, weights[other]) for other, value in kept.items())
