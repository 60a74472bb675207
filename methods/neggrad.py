"""Negative gradient: fall on D_r and climb on D_f, in one loss.

The baseline of "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which
credits "Eternal Sunshine of the Spotless Net" (arXiv:1911.04933): fine-tune on D while the loss of
D_f is raised. Neither says how the climb ends; `clip` and `stop_accuracy` do that here.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem


@dataclass(frozen=True, kw_only=True)
class NegGrad:
    """Fine-tune on D with the gradient of D_f turned round (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})

    epochs: Annotated[int, Ge(1)] | None = None  # most passes over D; None: 0.2 of the
    # original's epochs, since D_f is met only once in each
    lr: Annotated[float, Gt(0)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the paper's originals were trained
    forget_weight: Annotated[float, Gt(0)] = 1.0  # lambda: weight of a sample of D_f
    clip: Annotated[float, Gt(0)] = 2.0  # a D_f loss over clip * log K climbs no further: -CE is
    # bounded by nothing
    stop_accuracy: Annotated[float, Interval(ge=0, le=1)] = 0.1  # ends after the epoch in which
    # D_f is at or below this; the paper's runs ended at 10.6%

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after descent on D_r and ascent on D_f."""
        model, forget = problem.original, problem.forget
        ceiling = self.clip * math.log(problem.num_classes)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            is_forget_N = batch.index_N < len(forget)
            climb_N = -self.forget_weight * loss_N.clamp(max=ceiling)
            return climb_N.where(is_forget_N, loss_N).mean()

        def forgotten() -> bool:
            accuracy = problem.correct(model, forget).float().mean().item()
            return accuracy <= self.stop_accuracy

        problem.fine_tune(
            model,
            forget + problem.retain,
            epochs=problem.schedule_share(self.epochs, 0.2),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            loss=loss,
            stop=forgotten,
        )
        return model
