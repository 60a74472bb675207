"""Fine-tuning on D_r, the simplest baseline: D_f is left to be forgotten by itself.

As in "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which tunes
"with a slightly large learning rate"; the optimiser is that of "Model Sparsity Can Simplify Machine
Unlearning" (arXiv:2304.04934). How large decides everything: at the end of the original's schedule
a model stays where it is, and under the whole schedule, squeezed into a few epochs, it forgets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Search


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Train on with D_r alone (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"schedule": "constant", "epochs": 1},
    }

    epochs: Annotated[int, Ge(1), Search(1, 3)] | None = None  # None: 0.2 of the original's
    # epochs, at least one
    schedule: Annotated[
        Literal["original", "constant"], Search(choices=("original", "constant"))
    ] = "original"  # the original's recipe as a whole, its
    # rates squeezed into the epochs; or one rate, as the papers do
    peak: Annotated[float, Gt(0), Search(0.3, 5, log=True)] = 1.0  # of the original's schedule: its
    # rates are multiplied by it
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # constant: step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # constant: of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # constant: as the papers' originals were trained

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, trained on with D_r."""
        model, epochs = problem.original, problem.schedule_share(self.epochs, 0.2)
        if self.schedule == "original":
            problem.train_like_original(model, problem.retain, epochs=epochs, peak=self.peak)
            return model
        problem.fine_tune(
            model,
            problem.retain,
            epochs=epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return model
