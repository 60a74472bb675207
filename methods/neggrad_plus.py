"""NegGrad+ of "Towards Unbounded Machine Unlearning" (arXiv:2302.09880), beside SCRUB.

Every step falls on a batch of D_r and climbs on a batch of D_f:
alpha CE(D_r) - (1 - alpha) CE(D_f). The paper's climb is bounded by nothing; here `clip` bounds it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search

from ._pairs import endless


@dataclass(frozen=True, kw_only=True)
class NegGradPlus:
    """Descend on D_r and ascend on D_f in every step (arXiv:2302.09880)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "epochs": 5, "retain_share": 1.0, "momentum": 0.0, "weight_decay": 0.0, "alpha": 0.9999,
            "clip": None, "freeze_batch_norm": True,
        }
    }  # fmt: skip

    alpha: Annotated[float, Interval(gt=0, lt=1), Search(0.9, 0.9999)] = 0.99  # weight of D_r;
    # each of its batches meets one of D_f, so a sample of D_f has hundreds of visits an epoch
    epochs: Annotated[int, Ge(1), Search(1, 4, step=1)] = 2  # passes over the share of D_r
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.3  # of D_r, for cost: as many samples
    # of D_f pass as of D_r
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # of SGD
    clip: Annotated[float, Gt(0), Search(0.5, 4.0)] | None = 1.0  # a D_f loss over clip * log K
    # climbs no further; at 1 it ends near a guess. None: it never ends
    freeze_batch_norm: bool = True  # the paper's code on 100 samples of one class

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after descent on D_r and ascent on D_f."""
        model = problem.original
        forget_batches = endless(problem, problem.forget)
        ceiling = math.inf if self.clip is None else self.clip * math.log(problem.num_classes)

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            forget = next(forget_batches)
            with problem.autocast():
                forget_logits_NK = model(forget.images_NCHW)
            climb_N = F.cross_entropy(forget_logits_NK.float(), forget.labels_N, reduction="none")
            fall = F.cross_entropy(logits_NK, batch.labels_N)
            return self.alpha * fall - (1 - self.alpha) * climb_N.clamp(max=ceiling).mean()

        problem.fine_tune(
            model,
            problem.share(problem.retain, self.retain_share),
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            loss=loss,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
