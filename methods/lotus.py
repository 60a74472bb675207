"""LoTUS: "Large-Scale Machine Unlearning with a Taste of Uncertainty" (arXiv:2503.18314).

The student learns samples of its teacher's answers, and on D_f softened ones: the softer, the more
the accuracy on D_f exceeds that of the original on images that it has not seen. Those are of D_f's
classes here; the paper's are of all, which for a subset of one class is another number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Samples, Search

from ._relabel import is_gone


@dataclass(frozen=True, kw_only=True)
class LoTUS:
    """Distil D_f softened until it scores like unseen images (arXiv:2503.18314)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"lr": 1e-4, "epochs": 10, "forget_repeats": 1, "batch_size": 128}
    }

    alpha: Annotated[float, Gt(0), Search(1.0, 16.0, log=True)] = 8.0  # how soft the answers on D_f
    # are; 2 in the paper for 100 classes
    epochs: Annotated[int, Ge(1), Search(2, 10, step=1)] = 8  # most passes over D_f and the share
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.3  # of D_r that is replayed
    forget_repeats: Annotated[int, Ge(1), Search(1, 10, step=1)] = 5  # visits of D_f in a pass: the
    # paper's D_f is as large as the share of D_r, and one of 100 samples would hardly be heard
    lr: Annotated[float, Gt(0), Search(1e-5, 1e-3, log=True)] = 3e-4  # step size of AdamW
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # of AdamW
    batch_size: Annotated[int, Ge(2)] | None = None  # samples per step; None: the recipe's
    margin: Annotated[float, Interval(ge=0, lt=1)] = 0.01  # ends once the accuracy on D_f is so
    # much below that of the original on unseen images

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the student."""
        teacher, student = problem.original, problem.copy(problem.original)
        forget, holdout = problem.forget, problem.holdout
        generator = problem.generator("gumbel")
        unseen = holdout[torch.isin(holdout.labels, forget.labels)]
        aim = 0.0 if is_gone(problem).all() else _accuracy(problem, teacher, unseen)
        excess = _accuracy(problem, teacher, forget) - aim
        repeated = forget[
            torch.arange(len(forget), device=problem.device).repeat(self.forget_repeats)
        ]

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            """Cross entropy with softened samples on D_f and with drawn labels on D_r (eq. 4)."""
            with torch.no_grad(), problem.autocast():
                target_NK = teacher(batch.images_NCHW).float()
            uniform_NK = torch.rand(target_NK.shape, generator=generator).clamp_(1e-10, 1 - 1e-7)
            drawn_NK = target_NK - uniform_NK.log().neg().log().to(problem.device)  # Gumbel
            soft_NK = (drawn_NK / math.exp(self.alpha * excess)).softmax(1)  # eq. 5
            hard_NK = torch.zeros_like(soft_NK).scatter_(1, drawn_NK.argmax(1, keepdim=True), 1)
            is_forget_N1 = (batch.index_N < len(repeated))[:, None]
            target_NK = soft_NK.where(is_forget_N1, hard_NK)
            return F.cross_entropy(logits_NK, target_NK)

        def is_done() -> bool:
            nonlocal excess
            excess = _accuracy(problem, student, forget) - aim
            return excess <= -self.margin

        if excess > -self.margin:
            problem.fine_tune(
                student,
                repeated + problem.share(problem.retain, self.retain_share),
                epochs=self.epochs,
                lr=self.lr,
                optimizer="adamw",
                weight_decay=self.weight_decay,
                batch_size=self.batch_size,
                loss=loss,
                stop=is_done,
            )
        return student


def _accuracy(problem: Problem, model: nn.Module, samples: Samples) -> float:
    return problem.correct(model, samples).float().mean().item()
