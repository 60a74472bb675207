"""The problem that a method sees: its access, its meter and its helpers."""

from copy import deepcopy

import pytest
import torch

from mubench import AccessError
from mubench.method.access import ACCESS
from mubench.method.meter import Meter
from tests.helpers.problems import make_problem


@pytest.mark.parametrize("name", sorted(ACCESS))
def test_only_what_is_declared_can_be_touched(tiny, name):
    assert getattr(make_problem(tiny, name), name) is not None
    others = ACCESS - {name}
    with pytest.raises(AccessError, match=f"problem.{name}, which its `requires`"):
        getattr(make_problem(tiny, *others), name)


def test_controls_labels_are_not_for_the_undeclared(tiny):
    with pytest.raises(AccessError):
        _ = make_problem(tiny, *ACCESS).gold_labels


def test_what_was_refused_is_remembered_even_where_the_method_goes_on(tiny):
    problem = make_problem(tiny, "forget")
    _ = problem.forget, problem.original, problem.recipe
    assert problem.refused == []
    for name in ("retain", "gold_labels", "retain"):
        with pytest.raises(AccessError):
            getattr(problem, name)
    assert problem.refused == ["retain", "gold_labels", "retain"]


def test_a_problem_has_what_the_library_has(library):
    problem = make_problem(library.loaded, "training_log", library=library)
    assert [line.epoch for line in problem.training_log] == [1, 2, 3]
    expected = library.model(library.loaded.originals[0]).state_dict()
    assert problem.original.state_dict().keys() == expected.keys()
    for name, value in problem.original.state_dict().items():
        assert torch.equal(value, expected[name])


def test_the_sets_partition_the_training_data(tiny):
    problem = make_problem(tiny, "forget", "retain")
    assert len(problem.forget) == 6
    assert len(problem.forget) + len(problem.retain) == len(tiny.train)
    assert problem.forget.labels.unique().tolist() == [1]


def test_every_pass_of_any_network_is_counted(tiny):
    meter = Meter()
    problem = make_problem(tiny, "forget", "retain", meter=meter)

    def seen():
        return meter.seen.forward, meter.seen.backward

    problem.logits(problem.original, problem.forget)
    assert seen() == (6, 0)
    problem.fine_tune(problem.original, problem.forget, epochs=2, lr=0.01)
    assert seen() == (18, 12)
    problem.features(deepcopy(problem.original), problem.forget)  # a copy counts in the same meter
    assert seen() == (24, 12)
    fresh = problem.fresh_network()
    images = problem.normalise(problem.forget.images)
    fresh(images).sum().backward()  # a loop of the method's own
    assert seen() == (30, 18)


def test_same_seed_same_choices_other_seed_others(tiny):
    def choices(seed):
        problem = make_problem(tiny, "retain", seed=seed)
        return [
            problem.share(problem.retain, 0.1).labels,
            problem.share(problem.retain, 0.1).labels,
            problem.wrong_labels(problem.retain.labels),
        ]

    one, again, other = choices(0), choices(0), choices(1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[2], other[2])
    assert not torch.equal(one[0], one[1])  # each call draws anew


def test_wrong_labels_are_never_right_and_reach_all_others(tiny):
    problem = make_problem(tiny, "retain")
    labels = torch.ones(300, dtype=torch.int64)
    assert problem.wrong_labels(labels).unique().tolist() == [0, 2, 3]


def test_a_length_is_a_share_of_the_schedule_and_at_least_one(tiny):
    problem = make_problem(tiny)
    assert problem.schedule_share(None) == 1  # a tenth of 3 epochs
    assert problem.schedule_share(7) == 7
    assert problem.schedule_share(None, share=1.0) == 3


def test_fine_tune_can_be_stopped(tiny):
    meter = Meter()
    problem = make_problem(tiny, "forget", meter=meter)
    problem.fine_tune(problem.original, problem.forget, epochs=9, lr=0.01, stop=lambda: True)
    assert meter.seen.backward == 6


def test_train_like_original_is_the_whole_recipe(tiny):
    meter = Meter()
    problem = make_problem(tiny, "retain", meter=meter)
    network = problem.fresh_network()
    problem.train_like_original(network, problem.retain)
    assert meter.seen.backward == 3 * len(problem.retain)
    assert problem.correct(network, problem.retain).float().mean() > 0.8
    assert not network.training


def test_reports_are_checked(tiny):
    problem = make_problem(tiny, "forget")
    problem.report("easy", torch.tensor([1, 0, 1, 1, 0, 1]).bool())
    assert problem.reports["easy"].tolist() == [True, False, True, True, False, True]
    with pytest.raises(ValueError, match="shape"):
        problem.report("easy", torch.ones(5))
    with pytest.raises(ValueError, match="easy or easy_score"):
        problem.report("hard", torch.ones(6))


def test_augment_needs_no_augmenting_recipe(tiny):
    problem = make_problem(tiny, "retain")
    out = problem.augment(problem.retain.images)
    assert out.shape == problem.retain.images.shape
    assert out.dtype == torch.uint8
    assert not torch.equal(out, problem.retain.images)
