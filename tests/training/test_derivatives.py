"""Gradients against autograd one sample at a time; attacks against their bounds; both counted."""

import pytest
import torch
from torch.nn import functional as F

from mubench import Samples
from mubench.method.meter import Meter
from mubench.task.spec import ModelSpec
from mubench.training.networks import Architecture
from tests.helpers.problems import make_problem


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def problem(tiny, meter):
    return make_problem(tiny, "forget", "retain", meter=meter)


def weights(model):
    return dict(model.named_parameters())


def derived(problem, samples, loss):
    """Autograd on a batch, by name."""
    logits_NK = problem.original(problem.normalise(samples.images))
    found = torch.autograd.grad(loss(logits_NK, samples.labels), weights(problem.original).values())
    return dict(zip(weights(problem.original), found, strict=True))


def one_by_one(problem, samples):
    """Autograd on one sample after another, by name, (N, *shape)."""
    each = [derived(problem, samples[i : i + 1], F.cross_entropy) for i in range(len(samples))]
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_mean_gradient_does_not_depend_on_the_batches(problem, batch_size):
    expected = derived(problem, problem.forget, F.cross_entropy)
    found = problem.gradients(problem.original, problem.forget, batch_size=batch_size)
    assert_same(found, expected)


def test_squares_are_of_batches_or_of_samples(problem):
    model, some = problem.original, problem.forget
    of_one_batch = problem.gradients(model, some, square=True)
    assert_same(of_one_batch, {k: v**2 for k, v in derived(problem, some, F.cross_entropy).items()})
    expected = {name: (value**2).mean(0) for name, value in one_by_one(problem, some).items()}
    assert_same(problem.gradients(model, some, square=True, per_sample=True), expected)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_gradients_of_samples_come_in_order(problem, batch_size):
    chunks = list(problem.sample_gradients(problem.original, problem.forget, batch_size=batch_size))
    found = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    assert_same(found, one_by_one(problem, problem.forget))


def all_logits(logits_NK, batch):
    return logits_NK[0]


def test_a_loss_of_several_values_has_a_gradient_each(problem):
    some = problem.forget[:2]
    (chunk,) = problem.sample_gradients(problem.original, some, loss=all_logits, batch_size=2)
    for number in range(problem.num_classes):
        expected = derived(problem, some[1:], lambda logits_NK, _, k=number: logits_NK[0, k])
        assert_same({name: value[1, number] for name, value in chunk.items()}, expected)
    summed = problem.gradients(
        problem.original, some, loss=all_logits, square=True, per_sample=True
    )
    assert_same(summed, {name: value.square().sum(1).mean(0) for name, value in chunk.items()})


def test_index_and_labels_are_those_of_the_sample(problem):
    weight_N = torch.arange(len(problem.forget)).float()

    def weighted(logits_NK, batch):
        each = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
        return (weight_N[batch.index_N] * each).mean()

    expected = {
        name: (value * weight_N.view(-1, *[1] * (value.ndim - 1))).mean(0)
        for name, value in one_by_one(problem, problem.forget).items()
    }
    assert_same(problem.gradients(problem.original, problem.forget, loss=weighted), expected)
    chunks = problem.sample_gradients(
        problem.original, problem.forget, loss=weighted, batch_size=99
    )
    assert_same({name: value.mean(0) for name, value in next(iter(chunks)).items()}, expected)


def test_frozen_weights_are_left_out_and_modes_stay(problem):
    model = problem.original.train()
    model.requires_grad_(False).head.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for per_sample in (False, True):
        found = problem.gradients(model, problem.forget, square=True, per_sample=per_sample)
        assert set(found) == {"head.weight", "head.bias"}
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_each_pass_counts_however_it_is_made(problem, meter):
    """N samples of M values: N forward and M N backward."""
    n, k = len(problem.retain), problem.num_classes
    work = {
        lambda: problem.gradients(problem.original, problem.retain, square=True): (n, n),
        lambda: problem.gradients(problem.original, problem.retain, square=True, per_sample=True): (
            n,
            n,
        ),
        lambda: list(problem.sample_gradients(problem.original, problem.retain, loss=all_logits)): (
            n,
            k * n,
        ),
        lambda: problem.attack(problem.original, problem.retain, norm="l2", eps=9, steps=3): (
            3 * n,
            3 * n,
        ),
    }
    for do, expected in work.items():
        meter.seen.forward = meter.seen.backward = 0
        with meter.running() as reading:
            do()
        assert (meter.seen.forward, meter.seen.backward) == expected
        assert reading.samples == meter.seen
        assert (reading.unseen.forward, reading.unseen.backward) == (0, 0)


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_every_kind_of_network_has_gradients_per_sample(tiny, name):
    options = {"depth": 1, "heads": 2, "patch": 4} if name == "vit" else {}
    network = Architecture(ModelSpec(name=name, width=8, options=options), 4, 3, 8).fresh(0).eval()
    problem, meter = make_problem(tiny, "forget"), Meter()
    meter.watch(network)
    with meter.running() as reading:
        found = problem.gradients(
            network, problem.forget, loss=all_logits, square=True, per_sample=True
        )
    assert all(value.isfinite().all() for value in found.values())
    assert reading.samples.backward == 4 * len(problem.forget)
    assert reading.unseen.backward == 0


def test_passes_count_where_the_first_layers_are_frozen(problem, meter):
    problem.original.requires_grad_(False).head.requires_grad_(True)
    n = len(problem.retain)
    with meter.running() as reading:
        problem.gradients(problem.original, problem.retain)
        problem.gradients(problem.original, problem.retain, square=True, per_sample=True)
    assert (reading.samples.forward, reading.samples.backward) == (2 * n, 2 * n)
    assert reading.unseen.backward == 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_stays_within_its_bound_and_misleads(problem, norm):
    some, eps = problem.retain, {"linf": 8.0, "l2": 60.0}[norm]
    attacked = problem.attack(problem.original, some, norm=norm, eps=eps, steps=5)
    change = (attacked.images - some.images.float()).flatten(1)
    size_N = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert size_N.max() <= eps * 1.0001
    assert size_N.mean() > eps / 2
    assert attacked.images.min() >= 0
    assert attacked.images.max() <= 255
    assert torch.equal(attacked.labels, some.labels)
    assert value(problem, attacked, some.labels) > value(problem, some, some.labels)


def value(problem, samples, labels_N):
    return F.cross_entropy(problem.logits(problem.original, samples), labels_N)


def test_an_attack_with_targets_goes_towards_them(problem):
    some = problem.retain
    targets_N = problem.wrong_labels(some.labels)
    attacked = problem.attack(
        problem.original, some, norm="l2", eps=60, steps=5, targets_N=targets_N
    )
    assert value(problem, attacked, targets_N) < value(problem, some, targets_N)


def test_attacked_images_can_be_trained_on(problem):
    attacked = problem.attack(problem.original, problem.forget, norm="linf", eps=4, steps=1)
    assert isinstance(attacked, Samples)
    problem.fine_tune(problem.original, attacked, epochs=1, lr=0.01)


def test_one_step_of_each_norm_is_the_gradient_at_its_length(problem):
    """x + s g / |g| and x + s sign(g), where nothing is clipped."""
    some = Samples(problem.forget.images.clamp(50, 200), problem.forget.labels)
    pixels = some.images.float().requires_grad_()
    loss = F.cross_entropy(problem.original(problem.normalise(pixels)), some.labels)
    (gradient,) = torch.autograd.grad(loss, pixels)
    unit = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    for norm, direction in (("l2", unit), ("linf", gradient.sign())):
        stepped = problem.attack(
            problem.original, some, norm=norm, eps=9, steps=1, step_size=3
        ).images
        torch.testing.assert_close(stepped, pixels.detach() + 3 * direction, rtol=0, atol=1e-3)
