"""Fine-tuning on D_r, the simplest baseline: D_f is left to be forgotten by itself.

As in "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which tunes
"with a slightly large learning rate"; the optimiser is that of "Model Sparsity Can Simplify Machine
Unlearning" (arXiv:2304.04934).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Train on with D_r alone (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})

    epochs: Annotated[int, Ge(1)] | None = None  # None: 0.1 of the original's epochs, at least one
    lr: Annotated[float, Gt(0)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the papers' originals were trained

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, trained on with D_r."""
        problem.fine_tune(
            problem.original,
            problem.retain,
            epochs=problem.schedule_share(self.epochs),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return problem.original
