"""What methods without D_r share: nothing holds the rest in place, so they have to end in time."""

import torch
from torch import Tensor

from mubench import Batch, Problem


class ForgetAccuracy:
    """The accuracy on D_f as the training passes by, at no further cost.

    Args:
        problem: must give `forget`.
        stop_at: accuracy at which `is_reached`; None: never.
    """

    def __init__(self, problem: Problem, stop_at: float | None):
        self.correct_N = torch.ones(len(problem.forget), dtype=torch.bool, device=problem.device)
        self.stop_at = stop_at

    def see(self, logits_NK: Tensor, batch: Batch, labels_N: Tensor) -> None:
        """Takes note of a batch, `labels_N` being the true labels of D_f."""
        self.correct_N[batch.index_N] = logits_NK.argmax(1).eq(labels_N[batch.index_N])

    def is_reached(self) -> bool:
        """Whether as many of D_f were right, at their last visit each, as `stop_at` says."""
        return self.stop_at is not None and self.correct_N.float().mean().item() <= self.stop_at
