"""Methods that make images of their own: noise, adversarial images, fled images."""

import pytest
import torch
from mubench_methods.amnesiac import Amnesiac
from mubench_methods.dlfd import DLFD
from mubench_methods.jit import JiT
from mubench_methods.l2ul import L2UL
from mubench_methods.unsir import UNSIR, pixels
from torch.nn import functional as F

from tests.helpers.patterns import CLASSES, TEST, TRAIN, accuracy, weights


def named(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def loss(problem, model, samples):
    return F.cross_entropy(problem.logits(model, samples), samples.labels).item()


def test_jit_is_one_step_down_the_bend_around_forget(make):
    problem = make({"forget"})
    model, forget = problem.original, problem.forget
    draws, sigma, lr = 3, 0.05, 1e-3
    generator = problem.generator("noise")
    # the order in which samples pass, as the method meets them
    order_N = torch.randperm(
        20, generator=torch.Generator().manual_seed(problem.seed_for("call 1"))
    )
    clean = problem.normalise(forget.images[order_N])
    value = 0.0
    for _ in range(draws):
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        noisy = noisy.clamp(clean.min(), clean.max())
        for i in range(20):
            away = (noisy[i] - clean[i]).norm()
            value = (
                value + (model(clean[i : i + 1]) - model(noisy[i : i + 1]).detach()).norm() / away
            )
    before, parameters = named(model), dict(model.named_parameters())
    gradient = torch.autograd.grad(value * 128 / 20 / draws, parameters.values())
    after = named(JiT(draws=draws, sigma=sigma, lr=lr).unlearn(problem))
    for (name, start), step in zip(before.items(), gradient, strict=True):
        torch.testing.assert_close(after[name] - start, -lr * step, rtol=2e-2, atol=2e-6, msg=name)


def test_jit_takes_a_forward_a_draw_and_one_step_a_batch(make):
    many = make({"forget"}, torch.arange(200))
    JiT(draws=4).unlearn(many)
    assert (many.meter.seen.forward, many.meter.seen.backward) == (5 * 200, 200)


def test_jit_keeps_running_statistics(make, trained):
    unlearned = JiT().unlearn(make({"forget"}))
    for (_, one), (_, other) in zip(
        unlearned.named_buffers(), trained.named_buffers(), strict=True
    ):
        assert torch.equal(one, other)


def test_l2ul_gets_forget_wrong_and_keeps_the_rest(make):
    problem = make({"forget"})
    quick = {"lr": 0.03, "attack_steps": 3, "adversarial": 8, "batch_size": 60}
    unlearned = L2UL(**quick).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) == 0
    assert accuracy(problem, unlearned, TEST) > 0.4
    half = make({"forget"})
    unlearned = L2UL(**quick, stop_accuracy=0.5).unlearn(half)
    assert 0.1 < accuracy(half, unlearned, half.forget) <= 0.5


def test_l2ul_first_step_is_that_of_its_loss(make):
    """CE of adversarial images - CE of D_f; D_f is repeated once for each eight of them."""
    lr, settings = 1e-3, {"adversarial": 8, "attack_steps": 2, "step_size": 20.0, "eps": 60.0}
    problem, twin = make({"forget"}), make({"forget"})
    forget, before = twin.forget, named(twin.original)
    each = torch.arange(20).repeat(8)
    targets = twin.wrong_labels(forget.labels[each])
    attacked = twin.attack(
        twin.original, forget[each], norm="l2", eps=60, steps=2, step_size=20, targets_N=targets
    )
    parameters = dict(twin.original.named_parameters())
    rows = [F.cross_entropy(logits(twin, attacked), targets, reduction="sum"),
            -F.cross_entropy(logits(twin, forget), forget.labels, reduction="sum")]  # fmt: skip
    gradient = torch.autograd.grad(sum(rows) / 180, parameters.values())
    method = L2UL(lr=lr, batch_size=180, epochs=1, **settings)
    after = named(method.unlearn(problem))
    for (name, start), step in zip(before.items(), gradient, strict=True):
        expected = -lr * (step + 1e-4 * start)
        torch.testing.assert_close(after[name] - start, expected, rtol=1e-2, atol=2e-6, msg=name)


def logits(problem, samples):
    return problem.original(problem.normalise(samples.images))


def test_l2ul_holds_most_what_matters_least(make):
    problem = make({"forget"})
    parameters = dict(problem.original.named_parameters())
    value = logits(problem, problem.forget).norm(dim=1).mean()
    gradient = torch.autograd.grad(value, parameters.values())
    held = L2UL().held(problem, problem.original, problem.forget)
    for (name, (_, stiffness)), one in zip(held.items(), gradient, strict=True):
        size = one.abs()
        expected = 1 - (size - size.min()) / (size.max() - size.min())
        torch.testing.assert_close(stiffness, expected, rtol=1e-3, atol=1e-3, msg=name)


def test_l2ul_passes_are_those_of_its_attack_and_its_training(make):
    """20 samples, 8 images each, 3 steps; an epoch of 180 in 3 batches, a look after each."""
    problem = make({"forget"})
    L2UL(adversarial=8, attack_steps=3, epochs=1, batch_size=60, lr=1e-6).unlearn(problem)
    backward = 20 * 8 * 3 + 20 + 180
    assert (problem.meter.seen.forward, problem.meter.seen.backward) == (
        backward + 3 * 20,
        backward,
    )


def test_unsir_noise_is_an_image_of_what_the_class_is_not(make):
    problem = make({"forget", "retain"})
    noise = UNSIR(noise_n=8).noise(problem, problem.original, problem.forget)
    assert noise.labels.tolist() == [1] * 8
    assert len(noise.images.flatten(1).unique(dim=0)) == 8
    assert loss(problem, problem.original, noise) > 5
    # lambda mean |N|^2 draws images to zero
    short = UNSIR(noise_n=8, noise_decay=100).noise(problem, problem.original, problem.forget)
    assert length(problem, short) < length(problem, noise)


def length(problem, samples):
    return problem.normalise(samples.images).flatten(1).norm(dim=1).mean()


def test_unsir_pixels_are_what_the_network_takes(make):
    problem = make({"forget", "retain"})
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(problem.normalise(pixels(problem, images)), images)


def test_unsir_impairs_and_repairs(make):
    whole = (TRAIN.labels == 1).nonzero().squeeze(1)
    problem = make({"forget", "retain"}, whole)
    method = UNSIR(impair_lr=0.01, repair_lr=0.003, retain_share=1.0, noise_n=64, batch_size=32)
    unlearned = method.unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) < 0.5
    assert accuracy(problem, unlearned, problem.retain) > 0.8


def test_dlfd_plan_is_that_of_optimal_transport():
    cost_MN = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    plan_MN = DLFD(blur=0.05, iterations=300).plan(cost_MN)
    torch.testing.assert_close(plan_MN.sum(1), torch.full((5,), 1 / 5), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plan_MN.sum(0), torch.full((7,), 1 / 7), rtol=1e-3, atol=1e-4)
    assert (plan_MN * cost_MN).sum() < 0.7 * cost_MN.mean()  # of going everywhere alike
    # log of the plan is the cost but for terms of rows and of columns
    rest = plan_MN.log() + cost_MN / 0.05
    torch.testing.assert_close(
        rest[1:] - rest[:1], (rest[1:] - rest[:1])[:, :1].expand(4, 7), atol=1e-3, rtol=0
    )


def test_dlfd_images_flee_the_features_of_forget_within_their_steps(make):
    problem = make({"forget", "retain"})
    method, model = DLFD(strength=4.0, steps=5), problem.original
    batch = problem.retain[:40]
    fled = method.perturb(problem, model, batch, problem.forget, weight=0.0)
    assert (fled.images - batch.images.float()).abs().max() <= 20
    assert 0 <= fled.images.min() <= fled.images.max() <= 255
    assert transport(problem, fled) > transport(problem, batch) + 0.05
    kept = method.perturb(problem, model, batch, problem.forget, weight=1e3)
    assert loss(problem, model, kept) < loss(problem, model, batch)


def transport(problem, samples):
    features = [problem.features(problem.original, x) for x in (samples, problem.forget)]
    one_MD, other_ND = (F.normalize(x) for x in features)
    cost_MN = 1 - one_MD @ other_ND.T
    return (DLFD().plan(cost_MN) * cost_MN).sum()


def test_dlfd_takes_sixteen_passes_a_sample(make):
    """15 of the perturbation and one of training, and a look at D_f for each of 3 batches of 64."""
    problem = make({"forget", "retain"})
    DLFD(retain_share=150 / 300).unlearn(problem)
    backward = 16 * 150
    assert (problem.meter.seen.forward, problem.meter.seen.backward) == (
        backward + 3 * 20,
        backward,
    )


def test_amnesiac_learns_wrong_labels(make):
    problem = make({"forget", "retain"})
    unlearned = Amnesiac(lr=1e-3, epochs=10, retain_share=1.0, batch_size=32).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) < 0.4
    assert accuracy(problem, unlearned, problem.retain) > 0.85


def test_amnesiac_meets_forget_as_often_as_said(make):
    problem = make({"forget", "retain"})
    Amnesiac(epochs=2, copies=3, retain_share=0.5).unlearn(problem)
    assert problem.meter.seen.backward == 2 * (3 * 20 + 150)


METHODS = [Amnesiac(), DLFD(), JiT(), L2UL(attack_steps=3, adversarial=4), UNSIR(noise_n=32)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_defaults_keep_what_was_learned(make, method):
    problem = make(method.requires)
    unlearned = method.unlearn(problem)
    assert weights(unlearned).isfinite().all()
    assert accuracy(problem, unlearned, TEST) > 1.5 / CLASSES
