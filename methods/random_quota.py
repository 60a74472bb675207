"""Random quota: the control of TMU's claim. It knows how many samples are hard, and not which.

Held-out accuracy on a class tells what a gold will reach on samples that it never saw. Marking that
many of D_f at random gets as near to the gold's accuracy as a method can that reads every sample;
only the samples are the wrong ones. What a method gains over this control, it knows about samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import nn

from mubench import Problem

from ._last_step import LAST_STEP, PAPER_STEP, LastStep
from ._quota import KAPPA, GoldGuess
from ._restart import OFF, RESTART, Restart


@dataclass(frozen=True, kw_only=True)
class RandomQuota:
    """TMU with marks at random: as many in each class as a gold should get wrong."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    control: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The control of TMU as published: M_o's held-out accuracy, and TMU's published last step.
        "paper": {"kappa": 0.0, "restart": OFF, "last_step": PAPER_STEP},
    }

    kappa: Annotated[float, Ge(0)] = KAPPA  # exactly TMU's: see `tmu`
    restart: Restart = RESTART  # exactly TMU's
    last_step: LastStep = LAST_STEP  # exactly TMU's

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, restarted and revised for (1 - a_k) n_f random samples of each class k."""
        labels_N = problem.forget.labels
        rate_N = 1 - GoldGuess.of(problem, self.kappa).accuracy_K[labels_N].double()
        order = torch.randperm(len(labels_N), generator=problem.generator("quota"))
        order = order.to(problem.device)
        order = order[labels_N[order].argsort(stable=True)]  # class by class, at random within each
        reached_N = (rate_N[order].cumsum(0) + 0.5).floor()
        is_hard_N = torch.zeros_like(labels_N, dtype=torch.bool)
        is_hard_N[order] = reached_N.diff(prepend=reached_N.new_zeros(1)) > 0
        problem.report("easy", ~is_hard_N)
        start, logits_NK = self.restart.begin(problem)
        return self.last_step.apply(problem, start, is_hard_N, logits_NK)
