"""DLFD: "Distribution-Level Feature Distancing ..." (AAAI 2025, arXiv:2409.14747).

Images of D_r are perturbed until their features are far from those of D_f, in optimal transport,
while they stay what their labels say. A model that is trained on them leaves D_f behind.

In the authors' code transport never reaches the perturbation, which only the loss moves; here it
does. They choose by membership inference on validation data when to stop; here the one pass is all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class DLFD:
    """Train on images of D_r whose features flee those of D_f (arXiv:2409.14747)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"retain_share": 1.0, "strength": 102.0}
    }

    lr: Annotated[float, Gt(0), Search(1e-4, 3e-2, log=True)] = 8e-3  # step size of SGD
    retain_share: Annotated[float, Interval(gt=0, le=1)] = (
        0.1  # of D_r: a step of training takes 16
    )
    # passes, so the paper's 1 costs more than retraining
    strength: Annotated[float, Gt(0), Search(0.25, 102, log=True)] = 2.0  # of a step of the
    # perturbation, of 255; 15 of the paper's .4 of 1 leave nothing of a small image
    steps: Annotated[int, Ge(1)] = 15  # of the perturbation
    forget_weight: Annotated[float, Ge(0), Search(0.1, 30, log=True)] = 3.0  # of the transport;
    # the loss of D_r has a weight that rises from 0 to 1
    blur: Annotated[float, Gt(0)] = 0.01  # epsilon of Sinkhorn's iteration
    iterations: Annotated[int, Ge(1)] = 50  # of Sinkhorn
    batch_size: Annotated[int, Ge(2)] = 64  # of D_r, and of D_f beside it

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, trained in one pass on perturbed D_r."""
        forget, model = problem.forget, problem.original
        retain = problem.share(problem.retain, self.retain_share)
        trainer = problem.trainer(model, lr=self.lr, weight_decay=5e-4)
        for start in range(0, len(retain), self.batch_size):
            batch = retain[start : start + self.batch_size]
            flown = self.perturb(
                problem, model, batch, problem.subset(forget, self.batch_size), start / len(retain)
            )
            trainer.epoch(flown, batch_size=self.batch_size)
        return model

    def perturb(
        self, problem: Problem, model: Any, batch: Samples, forget: Samples, weight: float
    ) -> Samples:
        """Eq. 5: images of a batch of D_r after sign steps up 3 OT(g(x + d), g(D_f)) - w CE.

        Args:
            problem: normalises the pixels.
            model: in eval mode.
            batch: M samples of D_r.
            forget: N samples of D_f.
            weight: w, of the loss.
        """
        forget_ND = problem.features(model, forget)
        images = batch.images.float()
        for _ in range(self.steps):
            images = images.detach().requires_grad_()
            maps = model.forward_features(problem.normalise(images))
            features_MD = model.forward_head(maps, pre_logits=True).flatten(1)
            loss = F.cross_entropy(model.forward_head(maps), batch.labels)
            cost_MN = 1 - F.normalize(features_MD) @ F.normalize(forget_ND).T
            distance = (self.plan(cost_MN.detach()) * cost_MN).sum()
            (gradient,) = torch.autograd.grad(self.forget_weight * distance - weight * loss, images)
            images = (images.detach() + self.strength * gradient.sign()).clamp(0, 255)
        return Samples(images.detach(), batch.labels)

    def plan(self, cost_MN: Tensor) -> Tensor:
        """How much goes from where to where, (M, N), by Sinkhorn's iteration on logarithms."""
        m, n = cost_MN.shape
        from_M, to_N = cost_MN.new_zeros(m, 1), cost_MN.new_zeros(1, n)
        log_MN = -cost_MN / self.blur
        for _ in range(self.iterations):
            from_M = -(log_MN + to_N).logsumexp(1, keepdim=True) - math.log(m)
            to_N = -(log_MN + from_M).logsumexp(0, keepdim=True) - math.log(n)
        return (log_MN + from_M + to_N).exp()
