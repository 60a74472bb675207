"""NegGrad's training, up to any accuracy on D_f: fall on D_r and climb on D_f, in one loss."""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search

from ._visits import beside_retain, once_at_most


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """The parameters that NegGrad and its control share."""

    visits: Annotated[int, Ge(1), Search(5, 50)] = 10  # how often each sample of D_f is met, unless
    # the end comes before
    epochs: Annotated[int, Ge(1)] = 2  # passes in which that happens
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r, in each pass; no less
    # than there are visits
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the paper's originals were trained
    forget_weight: Annotated[float, Gt(0), Search(0.1, 10, log=True)] = 1.0  # lambda: weight of a
    # visit to D_f, beside 1 for a sample of D_r
    clip: Annotated[float, Gt(0)] = 2.0  # a D_f loss over clip * log K climbs no further: -CE is
    # bounded by nothing

    def climb(self, problem: Problem, accuracy: float) -> nn.Module:
        """M_o after descent on D_r and ascent on D_f.

        Args:
            problem: must give `forget` and `retain`.
            accuracy: on D_f that ends the training once it is reached.
        """
        model, forget = problem.original, problem.forget
        samples, position_M = beside_retain(
            problem,
            forget,
            visits=self.visits,
            epochs=self.epochs,
            retain_share=self.retain_share,
        )
        ceiling = self.clip * math.log(problem.num_classes)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            climb_N = -self.forget_weight * loss_N.clamp(max=ceiling)
            return climb_N.where(position_M[batch.index_N] >= 0, loss_N).mean()

        problem.fine_tune(
            model,
            samples,
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            loss=loss,
            after_step=once_at_most(problem, model, forget, accuracy),
        )
        return model
