"""SFRon: "Unified Gradient-Based Machine Unlearning ..." (NeurIPS 2024, arXiv:2409.19732).

Training on D_r goes on, and every few steps the loss of D_f is raised: only in weights that D_f has
more Fisher information on than D_r, and less where a sample is forgotten already. The authors give
both steps to one optimiser, so its momentum carries what the mask has kept out; here a step of
ascent is a plain one.
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


@dataclass(frozen=True, kw_only=True)
class SFRon:
    """Descend on D_r, and now and then ascend on D_f under a mask (arXiv:2409.19732)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 4, "retain_share": 1.0}
    }

    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size at the start; it
    # falls to nothing along a cosine
    forget_weight: Annotated[float, Gt(0), Search(0.1, 100, log=True)] = (
        25.0  # of a step of ascent;
    )
    # it falls along a cosine too
    every: Annotated[int, Ge(1)] = 5  # steps of descent per step of ascent
    threshold: Annotated[float, Gt(0), Search(0.1, 10, log=True)] = 1.0  # least ratio of the Fisher
    # information of D_f to that of D_r, of a weight that ascends
    max_norm: Annotated[float, Gt(0)] = 7.0  # most that the norm of an ascending gradient may be
    epochs: Annotated[int, Ge(1)] = 5  # passes over the share of D_r
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r that is seen; the paper's
    # 1500 steps of 128 are 4 passes over all

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, trained on with ascents between the steps."""
        model, forget = problem.original, problem.forget
        retain = problem.share(problem.retain, self.retain_share)
        size = problem.recipe.batch_size
        mask = self.mask(problem, model, retain)
        num_steps = max(1, self.epochs * len(retain) // size)
        step = 0

        def weighted(logits_NK: Tensor, batch: Batch) -> Tensor:
            """Mean of w CE, w ~ CE^-1/2 of mean one: what is forgotten weighs little."""
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            weight_N = loss_N.detach().clamp_min(1e-6) ** -0.5
            return (weight_N / weight_N.mean() * loss_N).mean()

        def ascend() -> None:
            nonlocal step
            step += 1
            if step % self.every:
                return
            fall = (1 + math.cos(math.pi * min(step / num_steps, 1))) / 2
            some = problem.subset(forget, size)
            ascent = problem.gradients(model, some, loss=weighted, batch_size=len(some))
            masked = {
                name: self.forget_weight * fall * mask[name] * value
                for name, value in ascent.items()
            }
            norm = torch.stack([value.norm() for value in masked.values()]).norm()
            scale = self.lr * fall * (self.max_norm / norm.clamp_min(self.max_norm))
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.add_(scale * masked[name])

        problem.fine_tune(
            model,
            retain,
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=5e-4,
            schedule="cosine",
            after_step=ascend,
        )
        return model

    def mask(self, problem: Problem, model: nn.Module, retain: Samples) -> dict[str, Tensor]:
        """By name of a weight: true where D_f has more squared gradient than D_r."""
        size = min(problem.recipe.batch_size, len(problem.forget))  # squares shrink with batches
        of_forget, of_retain = (
            problem.gradients(model, samples, square=True, batch_size=size)
            for samples in (problem.forget, retain)
        )
        return {
            name: of_forget[name] >= self.threshold * of_retain[name].clamp_min(1e-30)
            for name in of_forget
        }
