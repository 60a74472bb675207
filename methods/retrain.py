"""Retraining: exact unlearning, and the cost that every other method must undercut."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mubench import Problem


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """Train a fresh network on D_r with the original's whole recipe."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    control: ClassVar[bool] = True

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns one more gold."""
        network = problem.fresh_network()
        problem.train_like_original(network, problem.retain)
        return network
