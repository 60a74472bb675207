"""What methods without D_r share: nothing holds the rest in place, so they have to end in time."""

import torch
from torch import Tensor, nn

from mubench import Batch, Problem


class ForgetAccuracy:
    """The accuracy on D_f as the training passes by, at no further cost.

    Args:
        problem: must give `forget`.
        model: what is trained.
        stop_at: accuracy at which `is_reached`; None: never.
    """

    def __init__(self, problem: Problem, model: nn.Module, stop_at: float | None):
        self.labels_N = problem.forget.labels
        self.correct_N = torch.ones_like(self.labels_N, dtype=torch.bool)
        self.model = model
        self.stop_at = stop_at
        self.reached: list[Tensor] = []  # the weights with which it was

    def see(self, logits_NK: Tensor, batch: Batch) -> None:
        """Takes note of a batch of D_f before its step; `batch.index_N` are positions in D_f."""
        index_N = batch.index_N
        self.correct_N[index_N] = logits_NK.argmax(1).eq(self.labels_N[index_N])
        if self.stop_at is not None and self.correct_N.float().mean().item() <= self.stop_at:
            self.reached = [weight.detach().clone() for weight in self.model.parameters()]

    def is_reached(self) -> bool:
        """Whether no more of D_f was right before this step; then the step is taken back."""
        with torch.no_grad():
            for weight, before in zip(self.model.parameters(), self.reached, strict=False):
                weight.copy_(before)
        return bool(self.reached)
