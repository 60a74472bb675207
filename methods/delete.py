"""DELETE: "Decoupled Distillation to Erase" (CVPR 2025, arXiv:2503.23751).

With D_f alone: the model learns its own first answer without the true class, so its runner-up and
the order of the rest. Made for whole classes, where D_f should end at 0 %. On a subset of a class
it has to end before, which `stop_accuracy` does and the paper does not.
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
class Delete:
    """Distil D_f from the original without the true class (arXiv:2503.23751)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "epochs": 20, "lr": 1e-4, "batch_size": 128, "freeze_batch_norm": False,
            "stop_accuracy": None,
        }
    }  # fmt: skip

    epochs: Annotated[int, Ge(1), Search(5, 80, step=5)] = 40  # most passes over D_f
    lr: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 1e-4  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    batch_size: Annotated[int, Ge(2)] = 64  # samples of D_f per step
    freeze_batch_norm: bool = True  # the code's `disable_bn`: running statistics would become those
    # of one class
    stop_accuracy: (
        Annotated[float, Interval(ge=0, le=1), Search(0.5, 1.0)] | None  # ends after the step
    ) = 0.85  # from which on no more of D_f is right. None: never

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after distillation on D_f."""
        model, forget = problem.original, problem.forget
        is_label_NK = F.one_hot(forget.labels, problem.num_classes).bool()
        target_NK = problem.logits(model, forget).masked_fill(is_label_NK, -float("inf")).softmax(1)
        reached = ForgetAccuracy(problem, model, self.stop_accuracy)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            """KL(the original without the label || model), eq. 11."""
            reached.see(logits_NK, batch)
            log_p_NK = logits_NK.log_softmax(1)
            return F.kl_div(log_p_NK, target_NK[batch.index_N], reduction="batchmean")

        problem.fine_tune(
            model,
            forget,
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            batch_size=self.batch_size,
            loss=loss,
            after_step=reached.is_reached,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
