"""The step that puts easy and hard into effect: TMU's last, and all that its controls do.

One class for all of them, so that a difference between their results is a difference between their
marks.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Samples


@dataclass(frozen=True, kw_only=True)
class LastStep:
    """Lower the accuracy on the hard part of D_f, keep it on the easy part and on D_r."""

    mechanism: Literal["relabel", "neggrad"] = "relabel"  # a fixed wrong label for each hard
    # sample, or ascent on its loss
    visits: Annotated[int, Ge(1)] = 10  # how often each sample of D_f is met in `epochs`; at
    # |D_f| = 100 this decides whether marks take effect, more than `lr` does
    epochs: Annotated[int, Ge(1)] = 2  # most passes over D_r's share, D_f repeated in each;
    # ends after one in which every mark is followed
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r that is replayed
    lr: Annotated[float, Gt(0)] = 0.01  # step size of SGD; momentum .9, weight decay 5e-4

    def apply(self, problem: Problem, start: nn.Module, is_hard_N: Tensor) -> nn.Module:
        """Returns the unlearned model; `start` itself if nothing is hard.

        Args:
            problem: must give `forget` and `retain`.
            start: the model to revise, which is used up.
            is_hard_N: bool, for each sample of D_f.
        """
        if not is_hard_N.any():
            return start
        forget = problem.forget
        if self.mechanism == "relabel":
            wrong_N = problem.wrong_labels(forget.labels)
            forget = Samples(forget.images, wrong_N.where(is_hard_N, forget.labels))
        repeats = -(-self.visits // self.epochs)
        replay = problem.share(problem.retain, self.retain_share)
        position_N = torch.arange(len(forget), device=problem.device).repeat(repeats)
        is_hard_M = F.pad(is_hard_N[position_N], (0, len(replay)))
        ceiling = 2 * math.log(problem.num_classes)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            if self.mechanism == "neggrad":
                climb_N = -loss_N.clamp(max=ceiling)
                loss_N = climb_N.where(is_hard_M[batch.index_N], loss_N)
            return loss_N.mean()

        def followed() -> bool:
            return not problem.correct(start, problem.forget).eq(is_hard_N).any()

        problem.fine_tune(
            start,
            forget[position_N] + replay,
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=5e-4,
            loss=loss,
            stop=followed,
        )
        return start


LAST_STEP = LastStep()  # the default of all that use it


def is_gone(problem: Problem) -> Tensor:
    """Bool (N_f,): whether D_r holds nothing of a sample's class, so that no gold can name it."""
    return ~torch.isin(problem.forget.labels, problem.retain.labels)
