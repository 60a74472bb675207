"""Boundary Shrink: "Boundary Unlearning" (CVPR 2023, arXiv:2303.11570).

With D_f alone: each sample is learned under the nearest wrong class, which is the one that the
original gives to an adversarial image of it. Where that image keeps its class, the sample would be
learned once more; it is left out. Made for whole classes, where D_f should end at 0 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Samples, Search

from ._forget_only import ForgetAccuracy


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink:
    """Give D_f to the nearest wrong classes (arXiv:2303.11570)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "epochs": 10, "lr": 1e-5, "freeze_batch_norm": False, "stop_accuracy": None
        }
    }  # fmt: skip

    eps: Annotated[float, Gt(0), Search(2.0, 64.0, log=True)] = 25.5  # a pixel's change in
    # one step, of 255
    epochs: Annotated[int, Ge(1), Search(5, 80, step=5)] = 40  # most passes over D_f
    lr: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 3e-4  # step size of SGD; at the
    # paper's, the few steps of a hundred samples move nothing
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    batch_size: Annotated[int, Ge(2)] = 64  # samples of D_f per step
    freeze_batch_norm: bool = True  # otherwise running statistics become those of D_f
    stop_accuracy: (
        Annotated[float, Interval(ge=0, le=1), Search(0.5, 1.0)] | None  # ends after the step
    ) = 0.85  # from which on no more of D_f is right. None: never

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, tuned on D_f under wrong classes."""
        model, forget = problem.original, problem.forget
        moved = problem.attack(
            model, forget, norm="linf", eps=self.eps, steps=1, step_size=self.eps
        )
        nearest_N = problem.logits(model, moved).argmax(1)
        is_wrong_N = nearest_N.ne(forget.labels)
        if not is_wrong_N.any():
            return model
        reached = ForgetAccuracy(problem, model, self.stop_accuracy)
        place_M = is_wrong_N.nonzero().squeeze(1)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            reached.see(logits_NK, batch._replace(index_N=place_M[batch.index_N]))
            return F.cross_entropy(logits_NK, batch.labels_N)

        problem.fine_tune(
            model,
            Samples(forget.images[is_wrong_N], nearest_N[is_wrong_N]),
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            batch_size=self.batch_size,
            loss=loss,
            after_step=reached.is_reached,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
