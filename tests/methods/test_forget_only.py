"""Methods that have D_f alone: each update against its equation in plain torch."""

import copy

import torch
from mubench_methods.boundary_shrink import BoundaryShrink
from mubench_methods.delete import Delete
from mubench_methods.gradient_ascent import GradientAscent
from torch.nn import functional as F

from tests.helpers.patterns import accuracy
from tests.helpers.steps import assert_same_weights, stepped

ONE_STEP = {"epochs": 1, "lr": 0.01, "batch_size": 64, "stop_accuracy": None}


def pinned(make, method, loss):
    """Asserts that the method takes one step on `loss(problem, model)`."""
    problem = make(method.requires)
    start = copy.deepcopy(problem.original)
    expected = stepped(start, lambda model: loss(problem, model), lr=method.lr)
    assert_same_weights(method.unlearn(make(method.requires)), expected, start)


def test_gradient_ascent_climbs_the_loss_of_forget(make):
    def loss(problem, model):
        images = problem.normalise(problem.forget.images)
        return -F.cross_entropy(model(images), problem.forget.labels)

    pinned(make, GradientAscent(**ONE_STEP), loss)


def test_delete_learns_the_answer_without_the_label(make):
    def loss(problem, model):
        images, labels = problem.normalise(problem.forget.images), problem.forget.labels
        answers = problem.logits(problem.original, problem.forget).exp()
        answers[torch.arange(len(labels)), labels] = 0
        target = answers / answers.sum(1, keepdim=True)
        return -(target * model(images).log_softmax(1)).sum(1).mean()

    pinned(make, Delete(**ONE_STEP), loss)


def test_boundary_shrink_learns_the_class_across_the_boundary(make):
    method = BoundaryShrink(eps=60, **ONE_STEP)

    def loss(problem, model):
        pixels = problem.forget.images.float().requires_grad_()
        value = F.cross_entropy(
            problem.original(problem.normalise(pixels)), problem.forget.labels, reduction="sum"
        )
        (gradient,) = torch.autograd.grad(value, pixels)
        moved = (pixels.detach() + 60 * gradient.sign()).clamp(0, 255)
        nearest = problem.original(problem.normalise(moved)).argmax(1)
        is_wrong = nearest.ne(problem.forget.labels)
        assert is_wrong.any()
        images = problem.normalise(problem.forget.images[is_wrong])
        return F.cross_entropy(model(images), nearest[is_wrong])

    pinned(make, method, loss)


def test_boundary_shrink_leaves_alone_what_no_step_flips(make):
    problem = make({"forget"})
    before = copy.deepcopy(problem.original.state_dict())
    after = BoundaryShrink(eps=1e-3).unlearn(problem).state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_the_climb_ends_after_a_step_and_costs_no_more_than_its_steps(make):
    problem = make({"forget"})
    method = GradientAscent(epochs=50, lr=0.005, momentum=0.0, stop_accuracy=0.7)
    unlearned = method.unlearn(problem)
    seen = problem.meter.seen
    assert 20 <= seen.backward == seen.forward < 50 * 20
    assert 0.3 <= accuracy(problem, unlearned, problem.forget) <= 0.7
