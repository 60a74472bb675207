"""The problem that a method sees: its access, its meter and its helpers."""

from copy import deepcopy

import pytest
import torch

from mubench import AccessError
from mubench._util.hashing import derive_seed
from mubench.method.access import ACCESS, GOLD_ACCESS
from mubench.method.meter import Meter
from mubench.training import loop
from tests.helpers.problems import make_problem


@pytest.mark.parametrize("name", sorted(ACCESS))
def test_only_what_is_declared_can_be_touched(tiny, name):
    assert getattr(make_problem(tiny, name), name) is not None
    others = ACCESS - {name}
    with pytest.raises(AccessError, match=f"problem.{name}, which its `requires`"):
        getattr(make_problem(tiny, *others), name)


def test_controls_labels_are_not_for_the_undeclared(tiny):
    for name in GOLD_ACCESS:
        with pytest.raises(AccessError):
            getattr(make_problem(tiny, *ACCESS), name)


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


def test_fine_tune_can_be_stopped_after_a_step_which_may_change_weights(tiny):
    meter = Meter()
    problem = make_problem(tiny, "retain", meter=meter)
    model, asked = problem.original, []

    def after_step():
        asked.append(problem.correct(model, problem.retain[:2]))  # counts, and leaves the mode
        assert model.training
        with torch.no_grad():
            model.head.bias.fill_(7.0)
        return len(asked) == 2

    problem.fine_tune(
        model, problem.retain, epochs=9, lr=0.01, batch_size=10, after_step=after_step,
        stop=lambda: pytest.fail("asked for a training that is over"),
    )  # fmt: skip
    assert (meter.seen.forward, meter.seen.backward) == (24, 20)
    assert model.head.bias.eq(7.0).all()
    assert not model.training


def test_watching_the_steps_changes_no_bit(tiny):
    plain, watched = (make_problem(tiny, "retain") for _ in range(2))
    plain.fine_tune(plain.original, plain.retain, epochs=2, lr=0.1)
    watched.fine_tune(
        watched.original, watched.retain, epochs=2, lr=0.1, after_step=lambda: None,
        schedule="constant", max_norm=1e9,
    )  # fmt: skip
    pairs = zip(plain.original.parameters(), watched.original.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_frozen_batch_norm_acts_as_in_eval_and_keeps_its_statistics(tiny):
    problem = make_problem(tiny, "forget")
    model = problem.original
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    def loss(logits_NK, batch):
        problem.correct(model, problem.forget)  # a look at the model does not thaw it
        seen.append((logits_NK.detach(), batch.index_N))
        return torch.nn.functional.cross_entropy(logits_NK, batch.labels_N)

    plain = problem.logits(model, problem.forget)
    problem.fine_tune(
        model, problem.forget, epochs=3, lr=0.1, batch_size=6, loss=loss, freeze_batch_norm=True
    )
    logits_NK, index_N = seen[0]
    torch.testing.assert_close(logits_NK, plain[index_N])
    for name, value in model.state_dict().items():
        is_statistic = "running" in name or "num_batches" in name
        assert torch.equal(value, before[name]) == is_statistic, name


def test_parameters_that_require_no_gradient_stay(tiny):
    problem = make_problem(tiny, "forget")
    frozen = problem.original.body[:-1].requires_grad_(False)
    before = [value.clone() for value in problem.original.state_dict().values()]
    problem.fine_tune(problem.original, problem.forget, epochs=1, lr=0.1, weight_decay=0.1)
    stay = set(frozen.state_dict())  # with the statistics of their batch norm
    for (name, value), old in zip(problem.original.state_dict().items(), before, strict=True):
        assert torch.equal(value, old) == (name.removeprefix("body.") in stay), name


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_fine_tune_follows_a_schedule_and_clips(tiny, schedule):
    problem, twin = (make_problem(tiny, "forget") for _ in range(2))
    problem.fine_tune(
        problem.original, problem.forget, epochs=5, lr=0.1, batch_size=6, schedule=schedule,
        warmup=0.4, max_norm=0.01,
    )  # fmt: skip
    model = twin.original.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rates = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        if schedule == "cosine"
        else torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=5, pct_start=0.4, cycle_momentum=False
        )
    )
    order = derived_order(twin, 5)
    for epoch, index in enumerate(order):
        batch = twin.forget[index]
        optimizer.zero_grad()
        logits = model(twin.normalise(batch.images))
        torch.nn.functional.cross_entropy(logits, batch.labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        if epoch < 4:
            rates.step()
    for one, other in zip(problem.original.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def derived_order(problem, epochs):
    """The order of D_f in each epoch of the problem's first call: from (seed, epoch) alone."""
    seed = problem.seed_for("call 1")
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(derive_seed("epoch", seed, epoch))
        yield torch.randperm(len(problem.forget), generator=generator)


def test_stages_go_from_the_input_to_the_head(tiny):
    problem = make_problem(tiny)
    stages = problem.stages(problem.original)
    assert len(stages) == 9
    assert stages[-1] is problem.original.head
    assert stages[0] is problem.original.body[1]


def test_train_like_original_is_the_whole_recipe(tiny):
    meter = Meter()
    problem = make_problem(tiny, "retain", meter=meter)
    network = problem.fresh_network()
    problem.train_like_original(network, problem.retain)
    assert meter.seen.backward == 3 * len(problem.retain)
    assert problem.correct(network, problem.retain).float().mean() > 0.8
    assert not network.training


@pytest.mark.parametrize("schedule", ["one-cycle", "step"])
def test_the_original_s_schedule_is_squeezed_and_scaled(tiny, monkeypatch, schedule):
    problem = make_problem(tiny, "retain")
    milestones = {"milestones": (4, 6)} if schedule == "step" else {}
    whole = problem.recipe.model_copy(update={"schedule": schedule, "epochs": 8, **milestones})
    problem.recipe, used = whole, []
    monkeypatch.setattr(loop, "fit", lambda _, __, recipe, *___, **____: used.append(recipe))
    problem.train_like_original(problem.original, problem.retain, epochs=1, peak=2.0)
    (short,) = used
    rates = [loop.learning_rate(short, step, 40) for step in range(40)]
    assert rates == pytest.approx([2 * loop.learning_rate(whole, step, 40) for step in range(40)])
    for name in ("optimizer", "momentum", "nesterov", "weight_decay", "batch_size", "precision"):
        assert getattr(short, name) == getattr(whole, name)


def test_parts_count_what_passes_in_them(tiny):
    problem = make_problem(tiny, "retain")
    n = len(problem.retain)
    with problem.part("look"):
        problem.logits(problem.original, problem.retain)
    problem.logits(problem.original, problem.retain)
    for _ in range(2):
        with problem.part("last step"):
            problem.fine_tune(problem.original, problem.retain, epochs=1, lr=1e-3)
    assert problem.parts == {"look": n, "last step": 2 * 3 * n}


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


def test_members_are_trained_on_their_shards_like_the_original(sharded):
    problem = make_problem(sharded, "retain", "shards")
    assert problem.shards == 3
    number_N = problem.shard_of(problem.retain)
    assert number_N.bincount().tolist() == sharded.shard_sizes(sharded.cases[0])
    network = problem.fresh_network()
    start = deepcopy(network)
    problem.train_like_original(network, problem.retain[number_N == 1])
    moved = [
        not torch.equal(before.head.weight, after.head.weight)
        for before, after in zip(problem.members(start), problem.members(network), strict=True)
    ]
    assert moved == [False, True, False]
    problem.train_like_original(problem.members(network)[0], problem.retain[number_N == 0])
    assert not torch.equal(problem.members(start)[0].head.weight, network.members[0].head.weight)
    with pytest.raises(AccessError, match=r"problem\.shards"):
        make_problem(sharded, "retain").shard_of(problem.retain)
