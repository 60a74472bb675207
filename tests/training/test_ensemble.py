"""Ensembles over shards: their outputs, and that a member's training knows its shard alone."""

import copy

import pytest
import torch

from mubench._util.hashing import derive_seed
from mubench.task.data import shard_numbers
from mubench.task.spec import ModelSpec
from mubench.training import ensemble, loop
from mubench.training.loop import TrainState
from mubench.training.networks import Architecture
from tests.helpers.networks import K, images, make

S = 3
ALLCNN = ModelSpec(name="allcnn", width=8, shards=S)


def fresh(seed=0):
    return Architecture(ALLCNN, num_classes=4, channels=3, image_size=8).fresh(seed)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def fit(tiny):
    """Trains an ensemble of the tiny task, on all of D unless a test says otherwise."""

    def train(samples=None, model=None, **options):
        trained = model or fresh()
        with loop.threads(1):
            log = ensemble.fit(
                trained, tiny.train if samples is None else samples, tiny.task.train, tiny.pipeline,
                seed=5, **options,
            )  # fmt: skip
        return trained, log

    return train


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(name="resnet18", width=8, shards=S),
        ALLCNN,
        ModelSpec(name="vit", width=24, options={"depth": 2, "heads": 4}, shards=S),
    ],
    ids=lambda spec: spec.name,
)
def test_an_ensemble_gives_the_mean_of_its_members_probabilities(spec):
    model = make(spec).eval()
    assert len(ensemble.members(model)) == S
    with torch.no_grad():
        logits_NK = model(images())
        each_SNK = torch.stack([member(images()) for member in ensemble.members(model)])
        torch.testing.assert_close(logits_NK.softmax(1), each_SNK.softmax(2).mean(0))
        maps_NS = model.forward_features(images())
        torch.testing.assert_close(model.forward_head(maps_NS), logits_NK)
    assert logits_NK.shape == (5, K)
    members = ensemble.members(model)
    assert not same(members[0], members[1])


def test_probabilities_that_vanish_leave_finite_logits():
    model = fresh().eval()
    with torch.no_grad():
        for member in ensemble.members(model):
            member.head.bias[0] = 500.0
        assert model(images()).isfinite().all()


def test_a_member_is_trained_on_its_shard_and_on_nothing_else(tiny, fit):
    model, log = fit()
    number_N = torch.from_numpy(shard_numbers(tiny.train.images, S))
    start = fresh()
    for number, (member, own) in enumerate(
        zip(ensemble.members(model), ensemble.members(start), strict=True)
    ):
        shard = tiny.train[number_N == number]
        assert len(shard) > 50
        with loop.threads(1):
            seed = derive_seed("shard", 5, number)
            lines = loop.fit(own, shard, tiny.task.train, tiny.pipeline, seed=seed)
        assert same(member, own)
        assert log[3 * number : 3 * number + 3] == lines
    assert not any(layer.training for layer in model.modules())


def test_a_sample_that_leaves_changes_its_member_and_no_bit_of_another(tiny, fit):
    gone = 7
    kept = torch.arange(len(tiny.train)) != gone
    (touched,) = shard_numbers(tiny.train.images[[gone]], S)
    whole, rest = (ensemble.members(fit(samples)[0]) for samples in (tiny.train, tiny.train[kept]))
    untouched = [same(a, b) for a, b in zip(whole, rest, strict=True)]
    assert untouched == [number != touched for number in range(S)]


@pytest.mark.parametrize("epochs_before", [1, 3, 5, 9])
def test_a_resumed_training_ends_with_the_same_bits(fit, epochs_before):
    """It stops amid a member, between two members, and at the end."""
    whole, log = fit()
    states = []

    def keep(make_state):
        state = make_state()
        states.append(TrainState(copy.deepcopy(state.tensors), state.log))

    fit(on_epoch=keep)
    assert [len(state.log) for state in states] == list(range(1, 3 * S + 1))
    steps = []
    resumed, log_again = fit(model=fresh(9), resume=states[epochs_before - 1], on_step=steps.append)
    assert same(whole, resumed)
    assert log_again == log
    assert len(steps) < 27 if epochs_before < 9 else not steps


def test_steps_are_those_of_all_members(tiny, fit):
    steps = []
    fit(on_step=steps.append)
    sizes = torch.from_numpy(shard_numbers(tiny.train.images, S)).bincount().tolist()
    total = 3 * sum(loop.num_batches(size, 32) for size in sizes)
    assert [step.step for step in steps] == list(range(1, total + 1))
    assert {step.num_steps for step in steps} == {total}


def test_a_member_without_samples_stays_as_it_is(tiny, fit):
    number_N = torch.from_numpy(shard_numbers(tiny.train.images, S))
    model, log = fit(tiny.train[number_N != 1])
    pairs = zip(ensemble.members(model), ensemble.members(fresh()), strict=True)
    assert [same(a, b) for a, b in pairs] == [False, True, False]
    assert len(log) == 3 * (S - 1)


def test_one_network_is_trained_as_ever(tiny, fit):
    one, other = tiny.fresh(1), tiny.fresh(1)
    _, log = fit(model=one)
    with loop.threads(1):
        expected = loop.fit(other, tiny.train, tiny.task.train, tiny.pipeline, seed=5)
    assert same(one, other)
    assert log == expected
    assert ensemble.members(one) == [one]
