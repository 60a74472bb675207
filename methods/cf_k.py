"""CF-k: "Towards Adversarial Evaluations for Inexact Machine Unlearning" (arXiv:2201.06640).

Catastrophic forgetting in the last k blocks: they are trained on with D_r, the rest stays. As the
paper says it: the classifier is among them, and what is not trained keeps its statistics too. The
code of arXiv:2302.09880, which runs it often, trains neither so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Search

from ._last_blocks import freeze_all_but_last


@dataclass(frozen=True, kw_only=True)
class CFk:
    """Train on with D_r in the last blocks alone (arXiv:2201.06640)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 10, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 64}
    }

    blocks: Annotated[int, Ge(0), Search(0, 3, step=1)] = 1  # k, blocks that are trained with the
    # classifier
    epochs: Annotated[int, Ge(1)] | None = None  # None: 0.2 of the original's epochs
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the originals of the board were trained
    batch_size: Annotated[int, Ge(2)] | None = None  # samples per step; None: the recipe's

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o with its last blocks trained on."""
        model = problem.original
        freeze_all_but_last(problem, model, self.blocks)
        problem.fine_tune(
            model,
            problem.retain,
            epochs=problem.schedule_share(self.epochs, 0.2),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
        )
        return model.requires_grad_()
