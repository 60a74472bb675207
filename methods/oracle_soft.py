"""The soft oracle: TMU's last step with the golds' mean output as its target.

Nobody who trains on D_f for so short a time can come nearer to a gold, whatever their marks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from mubench import Problem

from ._last_step import LAST_STEP, SWAPPED_STEP, LastStep
from ._restart import RESTART, Restart


@dataclass(frozen=True, kw_only=True)
class OracleSoft:
    """TMU with what the golds give out on D_f, instead of marks."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "gold_probabilities"})
    control: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # TMU's last step as it was: what the board's records of this control are of.
        "swapped": {"last_step": SWAPPED_STEP},
    }

    restart: Restart = RESTART  # exactly TMU's: see `tmu`
    last_step: LastStep = LAST_STEP  # TMU's, apart from its targets

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, restarted and taught the golds' mean output on D_f."""
        target_NK = problem.gold_probabilities
        easy_N = target_NK.argmax(1).eq(problem.forget.labels)
        problem.report("easy", easy_N)
        start, _ = self.restart.begin(problem)
        return self.last_step.teach(problem, start, target_NK, ~easy_N)
