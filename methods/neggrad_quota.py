"""NegGrad with a quota: the control of the claim that an aim above zero is what counts.

TMU aims at the accuracy that a gold has on D_f, and its paper compares it with NegGrad at 10%. This
control gives NegGrad the same aim. Held-out accuracy on D_f's classes says where to stop, and the
climb itself says which samples fall first: those that the original is least sure of.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mubench import Problem

from ._ascent import Ascent
from ._quota import GoldGuess


@dataclass(frozen=True, kw_only=True)
class NegGradQuota(Ascent):
    """NegGrad, stopped where D_f is as accurate as held-out samples of its classes."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    control: ClassVar[bool] = True

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after descent on D_r and ascent on D_f."""
        accuracy_N = GoldGuess.of(problem).accuracy_K[problem.forget.labels]
        return self.climb(problem, accuracy_N.mean().item())
