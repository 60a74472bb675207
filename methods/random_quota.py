"""Random quota: the control of TMU's claim. It knows how many samples are hard, and not which.

Held-out accuracy on a class tells what a gold will reach on samples that it never saw. Marking that
many of D_f at random gets as near to the gold's accuracy as a method can that reads every sample;
only the samples are the wrong ones. What a method gains over this control, it knows about samples.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from mubench import Problem

from ._relabel import LAST_STEP, LastStep, is_gone


@dataclass(frozen=True, kw_only=True)
class RandomQuota:
    """Mark as many of D_f as held-out accuracy suggests, at random, then TMU's last step."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    control: ClassVar[bool] = True

    last_step: LastStep = LAST_STEP  # exactly TMU's: see `tmu`

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, revised for (1 - a_k) n_f random samples of each class k of D_f."""
        labels_N, holdout = problem.forget.labels, problem.holdout
        correct_M = problem.correct(problem.original, holdout)
        is_hard_N = is_gone(problem)
        shuffled_N = torch.randperm(len(labels_N), generator=problem.generator("quota"))
        shuffled_N = shuffled_N.to(problem.device)
        for label in torch.unique(labels_N[~is_hard_N]):
            in_class_M = holdout.labels == label
            # a_k; a class that the holdout lacks: the accuracy on all of it
            accuracy = correct_M[in_class_M if in_class_M.any() else slice(None)].float().mean()
            members = shuffled_N[labels_N[shuffled_N] == label]
            is_hard_N[members[: round((1 - accuracy.item()) * len(members))]] = True
        problem.report("easy", ~is_hard_N)
        return self.last_step.apply(problem, problem.original, is_hard_N)
