"""SSD: Selective Synaptic Dampening (AAAI 2024, arXiv:2308.07707).

"Fast Machine Unlearning Without Retraining": weights that matter to D_f out of proportion are made
smaller. How much a weight matters is the mean of squared gradients over batches. A batch's mean
gradient shrinks with its size, so both sets are taken in batches of one size here; the authors'
code leaves that to chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import nn

from mubench import Problem, Search


@dataclass(frozen=True, kw_only=True)
class SSD:
    """Dampen the weights that matter to D_f more than to D (arXiv:2308.07707)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"alpha": 10.0, "lam": 1.0}}

    alpha: Annotated[float, Gt(0), Search(1.0, 200.0, log=True)] = 30.0  # a weight is dampened if
    # it matters alpha times as much to D_f as to D. Batches of one class, whose gradients point the
    # same way, are tenfold for that alone
    lam: Annotated[float, Gt(0), Search(0.1, 10.0, log=True)] = 1.0  # lambda: how much is left
    batch_size: Annotated[int, Ge(1)] = 128  # most samples that a gradient is averaged over; never
    # more than |D_f|

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o with some weights dampened."""
        model, forget = problem.original, problem.forget
        batch_size = min(self.batch_size, len(forget))
        of_forget, of_all = (
            problem.gradients(model, samples, square=True, batch_size=batch_size)
            for samples in (forget, forget + problem.retain)
        )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                is_special = of_forget[name] > self.alpha * of_all[name]  # eq. 4
                factor = (self.lam * of_all[name] / of_forget[name]).clamp(max=1)  # eq. 5
                weight.mul_(factor.where(is_special, torch.ones_like(factor)))
        return model
