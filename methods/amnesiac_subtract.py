"""Amnesiac unlearning: "Amnesiac Machine Learning" (AAAI 2021, arXiv:2010.10981), by subtraction.

What the original's training steps that met D_f have changed is taken back, and D_r repairs the
rest. So D_f was known before the training, which kept one sum for it. With batches of 128 from
50,000 images and 100 of them to forget, 23% of all steps met D_f. Without what they taught, the
weights are of little use, and all rests on the repair. Momentum carries D_f into later steps, which
are not taken back.

Only parameters are taken back. The running statistics of batch norm fit other weights then, and
settle within the repair, whose batches are normalised by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Search


@dataclass(frozen=True, kw_only=True)
class AmnesiacSubtract:
    """Take back the training steps that met D_f, then repair on D_r (arXiv:2010.10981)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain", "update_log"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"scale": 1.0, "schedule": "constant", "epochs": 10},
    }

    scale: Annotated[float, Interval(gt=0, le=1), Search(0.03, 1, log=True)] = 0.3  # share of the
    # updates that is taken back; the paper's 1 leaves more to repair than two epochs can
    epochs: Annotated[int, Ge(1), Search(1, 4)] = 2  # of repair; the paper's 10 are beyond a budget
    schedule: Annotated[
        Literal["original", "constant"], Search(choices=("original", "constant"))
    ] = "original"  # of the repair: the original's recipe as a whole, its rates squeezed into the
    # epochs, which repairs most in few; or one rate of Adam, as the authors do
    lr: Annotated[float, Gt(0), Search(1e-4, 1e-2, log=True)] = 1e-3  # constant: step size of Adam,
    # its default, as in the authors' notebook
    batch_size: Annotated[int, Ge(2)] = 64  # constant: as in the authors' notebook

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o without the updates that met D_f, repaired on D_r."""
        model, updates = problem.original, problem.update_log
        with torch.no_grad():
            # theta_u = theta_o - sum over steps that met D_f of (theta_after - theta_before)
            for name, weights in model.named_parameters():
                weights.sub_(self.scale * updates[name])
        if self.schedule == "original":
            problem.train_like_original(model, problem.retain, epochs=self.epochs)
            return model
        problem.fine_tune(
            model,
            problem.retain,
            epochs=self.epochs,
            lr=self.lr,
            optimizer="adamw",  # without weight decay: Adam
            batch_size=self.batch_size,
        )
        return model
