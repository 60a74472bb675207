"""SCRUB+R: SCRUB with rewinding (arXiv:2302.09880, section 3.2).

SCRUB makes the error on D_f as high as it gets. Rewinding goes back to the epoch at which that
error was nearest to the last student's on images that were never seen, of the classes of D_f. The
original, of no epoch at all, is a candidate too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from mubench import Problem

from ._scrub import PASSES, Passes


@dataclass(frozen=True, kw_only=True)
class ScrubR:
    """SCRUB, back to when D_f looked like unseen images (arXiv:2302.09880)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"passes": {"retain_share": 1}}}

    passes: Passes = PASSES  # over D_f and D_r

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the student of the epoch whose error on D_f is nearest to the reference."""
        forget, holdout = problem.forget, problem.holdout
        unseen = holdout[torch.isin(holdout.labels, forget.labels)]
        weights, accuracies = [], []
        for student in self.passes.students(problem):
            weights.append({k: v.clone() for k, v in student.state_dict().items()})
            accuracies.append(problem.correct(student, forget).float().mean().item())
        reference = problem.correct(student, unseen).float().mean().item()
        epochs = reversed(range(len(weights)))  # of equal ones the last
        nearest = min(epochs, key=lambda epoch: abs(accuracies[epoch] - reference))
        student.load_state_dict(weights[nearest])
        return student
