"""Fisher forgetting: "Eternal Sunshine of the Spotless Net" (CVPR 2020, arXiv:1911.04933).

Weights get noise where the loss on D_r is flat, as the diagonal Fisher information F of D_r tells.
The part that moves weights is zero as in the authors' code, but for a class that is gone as a
whole. D_f enters only by its absence from D_r. So for some images of many the noise is that of any
D_f, and what a model forgets is luck.

The head is told by its place. The authors' code takes every tensor with K rows for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import nn

from mubench import Problem, Search

from ._fisher import under_own_labels


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """Put noise on the weights that D_r does not need (arXiv:1911.04933)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"alpha": 1e-6, "fisher_n": None}
    }

    alpha: Annotated[float, Gt(0), Search(1e-9, 1e-5, log=True)] = 3e-7  # variance of the noise
    # times F; the authors' code has 1e-6, for weights that were trained longer
    fisher_n: Annotated[int, Ge(1)] | None = (
        5000  # samples of D_r that F is a mean over; None: all.
    )
    # Each takes K backward passes

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns a draw from the normal distribution around M_o: N(theta, alpha / F)."""
        retain, model = problem.retain, problem.original
        head = problem.stages(model)[-1]
        gone_K = torch.bincount(retain.labels, minlength=problem.num_classes) == 0
        fisher = problem.gradients(
            model,
            problem.subset(retain, self.fisher_n or len(retain)),
            loss=under_own_labels,
            square=True,
            per_sample=True,
        )
        of_head = {id(weight) for weight in head.parameters()}
        generator = problem.generator("noise")
        for name, weight in model.named_parameters():
            is_head = id(weight) in of_head
            variance = 1 / (fisher[name] + 1e-8)
            variance = self.alpha * variance.clamp(max=1e2 if is_head else 1e3)
            if weight.ndim > 1:
                variance = variance.mean(1, keepdim=True).expand_as(weight)
            if weight.ndim == 1 or is_head:
                variance = 10 * variance
            noise = torch.randn(weight.shape, generator=generator).to(problem.device)
            with torch.no_grad():
                if is_head:
                    weight[gone_K] = 0
                    variance = torch.where(
                        gone_K.view(-1, *[1] * (weight.ndim - 1)), 1e-4, variance
                    )
                weight.add_(variance.sqrt() * noise)
        return model
