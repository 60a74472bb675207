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
        Literal["uniform", "runner-up", "soft", "nudge", "ascent"],
        Search(choices=("runner-up", "soft", "nudge")),
    ] = "nudge"  # what a sample that is to be wrong is taught: a wrong label drawn once, as the
    # paper; the model's second choice; its own output with the places changed, or as little changed
    # as makes it wrong, and in both cases the other samples their own output; or ascent on its loss
    weight: Annotated[float, Interval(gt=0.5, le=1), Search(0.5, 0.9)] = 0.6  # runner-up, soft,
    # nudge: least share of the new first choice in what it and the old one have together
    visits: Annotated[int, Ge(1), Search(5, 30)] = 20  # how often each sample of D_f is met; at
    # |D_f| = 100 this decides whether marks take effect
    most: Annotated[float, Gt(0)] | None = 1.0  # times |D| images are met at most, D_f and replay
    # together; a large D_f is met less often, but more images teach the same. None: no limit
    epochs: Annotated[int, Ge(1)] = 2  # passes in which that happens
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.1  # of D_r that is replayed in each;
    # no less than there are visits
    lr: Annotated[float, Gt(0), Search(1e-3, 3e-2, log=True)] = 0.01  # step size of SGD; momentum
    # .9, weight decay 5e-4
    schedule: Literal["constant", "cosine"] = "cosine"  # how it goes: it stays until every mark is
    # followed, as the paper; or it falls to nothing, so that the model settles
    freeze_batch_norm: bool = True  # in batches of which a good part is D_f, its statistics would
    # become those of D_f's classes

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
        """Trains `start` on what D_f is to give out, unless it follows every mark.

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
            visits=self.num_visits(problem),
            epochs=self.epochs,
            retain_share=self.retain_share,
        )
        # At a constant rate a model never settles, so the end comes once every mark is followed.
        asked = now_and_then(problem, len(forget), is_followed)
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
            schedule=self.schedule,
            weight_decay=5e-4,
            loss=loss,
            freeze_batch_norm=self.freeze_batch_norm,
            after_step=asked if self.schedule == "constant" else None,
        )
        return start

    def num_visits(self, problem: Problem) -> int:
        """How often each sample of D_f is met; the replay is as much again."""
        if self.most is None:
            return self.visits
        num_forget = len(problem.forget)
        whole = num_forget + len(problem.retain)
        return min(self.visits, max(self.epochs, int(self.most * whole / (2 * num_forget))))


LAST_STEP = LastStep()  # the default of all that use it
PAPER_STEP = {  # settings: random labels at one rate, as TMU's paper
    "targets": "uniform",
    "visits": 10,
    "most": None,
    "schedule": "constant",
    "freeze_batch_norm": False,
}
# Settings: the default before marked samples were nudged.
SWAPPED_STEP = PAPER_STEP | {"targets": "soft"}


def is_gone(problem: Problem) -> Tensor:
    """Bool (N_f,): whether D_r holds nothing of a sample's class, so that no gold can name it."""
    return ~torch.isin(problem.forget.labels, problem.retain.labels)
