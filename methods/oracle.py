"""The oracle: TMU with the golds' own answers for marks. What perfect marks are worth.

It bounds what marks can reach in δ and in label accuracy. It does not bound distances of outputs: a
right mark says that a gold is wrong, and not what the gold says instead. See `oracle-soft`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from mubench import Problem

from ._last_step import LAST_STEP, PAPER_STEP, SWAPPED_STEP, LastStep
from ._restart import OFF, RESTART, Restart


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """TMU with the marks that most golds give."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "gold_labels"})
    control: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The oracle of TMU as published.
        "paper": {"restart": OFF, "last_step": PAPER_STEP},
        # TMU's last step as it was: what the board's records of the oracle are of.
        "swapped": {"last_step": SWAPPED_STEP},
    }

    restart: Restart = RESTART  # exactly TMU's: see `tmu`
    last_step: LastStep = LAST_STEP  # exactly TMU's

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, restarted and revised for the samples of D_f that are hard."""
        easy_N = problem.gold_labels
        problem.report("easy", easy_N)
        start, logits_NK = self.restart.begin(problem)
        return self.last_step.apply(problem, start, ~easy_N, logits_NK)
