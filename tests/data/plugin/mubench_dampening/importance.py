"""How much each weight matters to some samples."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem, Samples


def importance(
    problem: Problem, model: nn.Module, samples: Samples, batch_size: int
) -> list[Tensor]:
    """The mean over batches of the squared gradient of the loss, for each parameter.

    Args:
        problem: makes the batches.
        model: in eval mode.
        samples: to which the weights matter.
        batch_size: of the batches.
    """
    parameters = list(model.parameters())
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    num_batches = 0
    for batch in problem.batches(samples, batch_size=batch_size):
        with problem.autocast():
            logits_NK = model(batch.images_NCHW)
        loss = F.cross_entropy(logits_NK.float(), batch.labels_N)
        for total, gradient in zip(totals, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient**2
        num_batches += 1
    return [total / num_batches for total in totals]
