"""The oracle: TMU's last step on the golds' own answers. Bounds what that step can reach."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mubench import Problem

from ._relabel import LAST_STEP, LastStep


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Mark what most golds get wrong, then TMU's last step."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "gold_labels"})
    control: ClassVar[bool] = True

    last_step: LastStep = LAST_STEP  # exactly TMU's: see `tmu`

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, revised for the samples of D_f that are hard."""
        easy_N = problem.gold_labels
        problem.report("easy", easy_N)
        return self.last_step.apply(problem, problem.original, ~easy_N)
