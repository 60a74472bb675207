"""Gradient ascent on D_f alone.

As "Model Sparsity Can Simplify Machine Unlearning" (arXiv:2304.04934) runs it, after Graves et al.
(arXiv:2010.10981) and Thudi et al. (arXiv:2109.13398): the loss of D_f is raised for some epochs.
Nothing ends the climb there but the number of steps; here `stop_accuracy` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search

from ._forget_only import ForgetAccuracy


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """Raise the loss of D_f, with nothing else at hand (arXiv:2304.04934)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "epochs": 5, "lr": 1e-4, "batch_size": 256, "weight_decay": 5e-4,
            "freeze_batch_norm": False, "stop_accuracy": None,
        }
    }  # fmt: skip

    epochs: Annotated[int, Ge(1), Search(5, 50, step=5)] = 20  # most passes over D_f
    lr: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 1e-3  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 0.0  # of SGD
    batch_size: Annotated[int, Ge(2)] = 64  # samples of D_f per step
    freeze_batch_norm: bool = True  # otherwise running statistics become those of D_f, which is
    # of one class
    stop_accuracy: (
        Annotated[float, Interval(ge=0, le=1), Search(0.5, 1.0)] | None  # ends after the step
    ) = 0.85  # from which on no more of D_f is right: about what a net gets right of what it has
    # not seen. None: never

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after ascent on D_f."""
        model, forget = problem.original, problem.forget
        reached = ForgetAccuracy(problem, model, self.stop_accuracy)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            reached.see(logits_NK, batch)
            return -F.cross_entropy(logits_NK, batch.labels_N)

        problem.fine_tune(
            model,
            forget,
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            loss=loss,
            after_step=reached.is_reached,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
