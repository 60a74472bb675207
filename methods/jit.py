"""JiT: "An Information Theoretic Approach to Machine Unlearning" (TMLR 2025, arXiv:2402.01401).

The output is made flat around each sample of D_f: where a network has memorised, it bends. One pass
of plain gradient steps over D_f, nothing else. The authors sum over a batch, so that the step grows
with it; here the sum is that of a batch of 128, however many samples there are. Batch norm keeps
its statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mubench import Batch, Problem, Search

BATCH = 128  # samples of a step; the authors'


@dataclass(frozen=True, kw_only=True)
class JiT:
    """Make the output flat around D_f, in one pass over it (arXiv:2402.01401)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"lr": 3e-4, "sigma": 0.01}}

    lr: Annotated[float, Gt(0), Search(1e-6, 1e-3, log=True)] = 3e-5  # step size; the paper's 3e-4,
    # for random subsets of CIFAR-10, is of a VGG, and it has none for a ResNet
    sigma: Annotated[float, Gt(0), Search(1e-3, 1.0, log=True)] = 0.01  # standard deviation of the
    # noise on normalised pixels
    draws: Annotated[int, Ge(1)] = 25  # N, images of noise per sample

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, smoothed around D_f."""
        model, forget = problem.original, problem.forget
        generator = problem.generator("noise")

        def bend(logits_NK: Tensor, batch: Batch) -> Tensor:
            """Eq. 4: (1/N) sum_i |f(x) - f(x + xi_i)| / |xi_i|, where only f(x) is derived."""
            clean_NCHW = batch.images_NCHW.detach()
            total = torch.zeros((), device=problem.device)
            for _ in range(self.draws):
                noise = torch.randn(clean_NCHW.shape, generator=generator).to(problem.device)
                noisy_NCHW = clean_NCHW + self.sigma * noise
                noisy_NCHW = noisy_NCHW.clamp(clean_NCHW.min(), clean_NCHW.max())
                with torch.no_grad():
                    away_N = (noisy_NCHW - clean_NCHW).flatten(1).norm(dim=1)
                    noisy_NK = model(noisy_NCHW)
                total = total + ((logits_NK - noisy_NK).norm(dim=1) / away_N).mean()
            return BATCH * total / self.draws

        for start in range(0, len(forget), BATCH):
            gradient = problem.gradients(
                model, forget[start : start + BATCH], loss=bend, batch_size=BATCH
            )
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.sub_(self.lr * gradient[name])
        return model
