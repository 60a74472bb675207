"""ReGUn: "Reference-Guided Machine Unlearning" (arXiv:2603.11210).

D_f should be answered as images are that were never seen. The reference for a batch of D_f is the
original's mean answer on as many held-out images of the same classes; each step also learns a batch
of D_r. It needs the same sets as TMU, and marks no sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search

from ._pairs import endless


@dataclass(frozen=True, kw_only=True)
class ReGUn:
    """Distil D_f from the answers on held-out images of its classes (arXiv:2603.11210)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"freeze_batch_norm": False}}

    epochs: Annotated[int, Ge(1), Search(5, 40, step=5)] = 10  # passes over D_f, each batch of
    # which meets one of D_r
    forget_weight: Annotated[float, Interval(gt=0, le=1), Search(0.1, 0.9)] = 0.5  # of the
    # reference; the labels of D_r have the rest
    temperature: Annotated[float, Gt(0)] = 1.0  # of reference and model
    lr: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 0.0  # of SGD
    batch_size: Annotated[int, Ge(2)] | None = None  # of D_f and of D_r; None: the recipe's
    freeze_batch_norm: bool = True  # half of all batches are of D_f alone, and would make running
    # statistics those of its class

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, led to the reference on D_f."""
        model, holdout = problem.original, problem.holdout
        answers_NK = (problem.logits(model, holdout) / self.temperature).softmax(1)
        of_class = [
            positions if len(positions) else torch.arange(len(holdout), device=problem.device)
            for positions in (
                (holdout.labels == k).nonzero().squeeze(1) for k in range(problem.num_classes)
            )
        ]
        generator = problem.generator("reference")
        retain_batches = endless(problem, problem.retain, self.batch_size)

        def reference(labels_N: Tensor) -> Tensor:
            """q, (K,): the mean answer on held-out images drawn to the same class histogram."""
            drawn = []
            for k, count in enumerate(labels_N.bincount().tolist()):
                places = torch.randint(len(of_class[k]), (count,), generator=generator)
                drawn.append(of_class[k][places.to(problem.device)])
            return answers_NK[torch.cat(drawn)].mean(0)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            """KL(q || p) on D_f, and cross entropy on D_r."""
            retain = next(retain_batches)
            with problem.autocast():
                retain_logits_NK = model(retain.images_NCHW)
            log_p_NK = (logits_NK / self.temperature).log_softmax(1)
            q_NK = reference(batch.labels_N).expand_as(log_p_NK)
            divergence = F.kl_div(log_p_NK, q_NK, reduction="batchmean")
            keep = F.cross_entropy(retain_logits_NK.float(), retain.labels_N)
            return self.forget_weight * divergence + (1 - self.forget_weight) * keep

        problem.fine_tune(
            model,
            problem.forget,
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            loss=loss,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
