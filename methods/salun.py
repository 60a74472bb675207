"""SalUn: "Empowering Machine Unlearning via Gradient-Based Weight Saliency" (arXiv:2310.12508).

Random labelling in those weights alone in which the gradient of D_f is large. In the authors' code
before February 2026 weight decay and momentum moved the other weights too; here they are put back
after every step. The statistics of batch norm are of no mask, there and here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from mubench import Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class SalUn:
    """Relabel D_f at random, and move its salient weights alone (arXiv:2310.12508)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"retain_share": 1.0, "batch_size": 256}
    }

    salient_share: Annotated[float, Interval(gt=0, le=1), Search(0.1, 1.0)] = 0.5  # of all weights
    # that may move
    epochs: Annotated[int, Ge(1), Search(2, 12, step=2)] = 10  # each a pass over D_f under fresh
    # labels, then one over the share of D_r
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r, for cost
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.013  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # of SGD
    batch_size: Annotated[int, Ge(2)] | None = None  # samples per step; None: the recipe's
    freeze_batch_norm: bool = False  # a pass over D_f alone bends the statistics, and that over D_r
    # mends them. Frozen, a network that was trained for ten epochs diverges at this rate

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, relabelled in its salient weights."""
        model, forget = problem.original, problem.forget
        retain = problem.share(problem.retain, self.retain_share)
        start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        is_salient = self._salient(problem)
        generator = problem.generator("labels")
        trainer = problem.trainer(
            model,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            freeze_batch_norm=self.freeze_batch_norm,
        )

        def put_back() -> None:
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.copy_(weight.where(is_salient[name], start[name]))

        for _ in range(self.epochs):
            labels_N = torch.randint(problem.num_classes, (len(forget),), generator=generator)
            relabelled = Samples(forget.images, labels_N.to(problem.device))  # the truth among them
            trainer.epoch(relabelled, after_step=put_back)
            trainer.epoch(retain, after_step=put_back)
        return model

    def _salient(self, problem: Problem) -> dict[str, Tensor]:
        """True for the share of weights with the largest gradients, over all layers (eq. 3)."""
        gradients = problem.gradients(problem.original, problem.forget)
        sizes = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
        count = max(1, round(self.salient_share * len(sizes)))
        least = sizes.kthvalue(len(sizes) - count + 1).values
        return {name: gradient.abs() >= least for name, gradient in gradients.items()}
