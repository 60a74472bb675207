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

from mubench import Batch, Problem, Search

from ._targets import target_table
from ._visits import beside_retain, now_and_then


@dataclass(frozen=True, kw_only=True)
class LastStep:
    """Lower the accuracy on the hard part of D_f, keep it on the easy part and on D_r."""

    targets: Annotated[
        Literal["uniform", "runner-up", "soft", "ascent"], Search(choices=("runner-up", "soft"))
    ] = "soft"  # what a sample that is to be wrong is taught: a wrong label drawn once, as the
    # paper; the model's second choice; its own output with the places changed, and the other
    # samples their own output; or ascent on its loss
    weight: Annotated[float, Interval(gt=0.5, le=1), Search(0.5, 0.9)] = 0.6  # runner-up, soft:
    # least share of the new first choice in what it and the old one have together
    visits: Annotated[int, Ge(1), Search(5, 30)] = 10  # how often each sample of D_f is met, unless
    # every mark is followed before; at |D_f| = 100 this decides whether marks take effect
    epochs: Annotated[int, Ge(1)] = 2  # passes in which that happens
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.1  # of D_r that is replayed in each;
    # no less than there are visits
    lr: Annotated[float, Gt(0), Search(1e-3, 3e-2, log=True)] = 0.01  # step size of SGD; momentum
    # .9, weight decay 5e-4

    def apply(
        self,
        problem: Problem,
        start: nn.Module,
        is_hard_N: Tensor,
        logits_NK: Tensor,
    ) -> nn.Module:
        """Returns the unlearned model; `start` itself if it follows the marks.

        Args:
            problem: must give `forget` and `retain`.
            start: the model to revise, which is used up.
            is_hard_N: bool, for each sample of D_f.
            logits_NK: of D_f, by which second choices and soft targets go.
        """
        labels_N = problem.forget.labels
        wrong_N = problem.wrong_labels(labels_N)
        target_NK = target_table(
            self.targets, logits_NK, labels_N, is_hard_N, wrong_N, weight=self.weight
        )
        return self.teach(problem, start, target_NK, is_hard_N)

    def teach(
        self, problem: Problem, start: nn.Module, target_NK: Tensor, is_hard_N: Tensor
    ) -> nn.Module:
        """Trains `start` on what D_f is to give out, until every mark is followed.

        Args:
            problem: must give `forget` and `retain`.
            start: the model to revise, which is used up.
            target_NK: probabilities; under `ascent`, hard samples have none.
            is_hard_N: bool, for each sample of D_f.
        """
        forget = problem.forget

        def is_followed() -> bool:
            return not problem.correct(start, forget).eq(is_hard_N).any()

        if is_followed():
            return start
        samples, position_M = beside_retain(
            problem,
            forget,
            visits=self.visits,
            epochs=self.epochs,
            retain_share=self.retain_share,
        )
        ceiling = 2 * math.log(problem.num_classes)

        def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
            position_B = position_M[batch.index_N]
            is_forget_B = position_B >= 0
            label_BK = F.one_hot(batch.labels_N, problem.num_classes).to(logits_BK.dtype)
            target_BK = target_NK[position_B].where(is_forget_B[:, None], label_BK)
            loss_B = F.cross_entropy(logits_BK, target_BK, reduction="none")
            if self.targets == "ascent":
                is_hard_B = is_forget_B & is_hard_N[position_B]
                loss_B = (-loss_B.clamp(max=ceiling)).where(is_hard_B, loss_B)
            return loss_B.mean()

        problem.fine_tune(
            start,
            samples,
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=5e-4,
            loss=loss,
            after_step=now_and_then(problem, len(forget), is_followed),
        )
        return start


LAST_STEP = LastStep()  # the default of all that use it
PAPER_STEP = {"targets": "uniform"}  # settings: random labels, as TMU's paper


def is_gone(problem: Problem) -> Tensor:
    """Bool (N_f,): whether D_r holds nothing of a sample's class, so that no gold can name it."""
    return ~torch.isin(problem.forget.labels, problem.retain.labels)
