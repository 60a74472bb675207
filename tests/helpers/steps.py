"""Plain steps of gradient descent, to which a method's update is compared."""

import copy

import torch
from torch import nn


def stepped(start: nn.Module, *losses, lr: float, train: bool = False) -> nn.Module:
    """A copy of a model after one plain step per loss.

    Args:
        start: stays as it is.
        losses: scalars of a model, in the order of the steps.
        lr: step size.
        train: batch norm in train mode, otherwise in eval mode.
    """
    model = copy.deepcopy(start).train(train)
    for loss in losses:
        gradients = torch.autograd.grad(loss(model), list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight -= lr * gradient
    return model.eval()


def assert_same_weights(one: nn.Module, other: nn.Module, start: nn.Module) -> None:
    """Both moved from the start, and by the same, but for rounding."""
    moved = 0.0
    triples = zip(one.parameters(), other.parameters(), start.parameters(), strict=True)
    for a, b, before in triples:
        torch.testing.assert_close(a - before, b - before, rtol=2e-3, atol=5e-7)
        moved += (a - before).abs().sum().item()
    assert moved > 0
