"""Selective synaptic dampening (AAAI 2024, arXiv:2308.07707): unlearning without training.

Weights that matter far more to D_f than to D are scaled down. Both importances are taken with one
batch size: squared gradients of batch means shrink as batches grow.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import nn

from mubench import Problem

from .importance import importance


@dataclass(frozen=True, kw_only=True)
class Dampening:
    """Scale down the weights that matter to D_f alone (arXiv:2308.07707)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})

    alpha: Annotated[float, Gt(0)] = 10.0  # a weight is selected where I_f > alpha * I_D
    strength: Annotated[float, Gt(0)] = 1.0  # lambda: it is multiplied by lambda * I_D / I_f
    batch_size: Annotated[int, Ge(2)] = 32  # of both importances

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the original, its selected weights dampened."""
        model, forget = problem.original, problem.forget
        for_forget = importance(problem, model, forget, self.batch_size)
        for_all = importance(problem, model, forget + problem.retain, self.batch_size)
        with torch.no_grad():
            for weight, i_f, i_d in zip(model.parameters(), for_forget, for_all, strict=True):
                factor = (self.strength * i_d / i_f).clamp(max=1)
                weight.mul_(factor.where(i_f > self.alpha * i_d, 1.0))
        return model
