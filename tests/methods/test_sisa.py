"""SISA: only what has met D_f is trained anew, and it is trained as a gold's member is."""

import copy

import pytest
import torch
from mubench_methods.sisa import SISA

from mubench._util.cache import Store
from mubench.gold.library import GoldLibrary
from mubench.gold.train import train
from mubench.method.meter import Meter
from mubench.training import loop
from tests.helpers.problems import make_problem


@pytest.fixture(scope="module")
def make(sharded, tmp_path_factory):
    """Makes problems whose original was trained as an ensemble; D_f is six images of one class."""
    library = GoldLibrary(sharded, Store(tmp_path_factory.mktemp("store")))
    with loop.threads(1):
        train(library, sharded.originals[0])

    def make_one(**given):
        return make_problem(sharded, *SISA.requires, library=library, **given)

    return make_one


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_members_without_a_sample_of_forget_keep_every_bit(make):
    problem = make(forget=make().forget[:1])
    (touched,) = problem.shard_of(problem.forget).tolist()
    before = copy.deepcopy(problem.members(problem.original))
    after = problem.members(SISA().unlearn(problem))
    kept = [same(a, b) for a, b in zip(before, after, strict=True)]
    assert kept == [number != touched for number in range(3)]


def test_a_touched_member_is_fresh_and_trained_on_the_rest_of_its_shard(make):
    unlearned = SISA().unlearn(make())
    problem = make()  # draws the same
    number_N = problem.shard_of(problem.retain)
    fresh = problem.members(problem.fresh_network())
    for number in problem.shard_of(problem.forget).unique().tolist():
        problem.train_like_original(fresh[number], problem.retain[number_N == number])
        assert same(problem.members(unlearned)[number], fresh[number])


def test_it_costs_the_epochs_of_the_touched_shards(make):
    meter = Meter()
    problem = make(meter=meter)
    sizes = problem.shard_of(problem.retain).bincount()
    touched = problem.shard_of(problem.forget).unique()
    SISA().unlearn(problem)
    expected = 3 * int(sizes[touched].sum())  # epochs of the recipe
    assert (meter.seen.forward, meter.seen.backward) == (expected, expected)
