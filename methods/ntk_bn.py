"""NTK forgetting of batch norm: "Forgetting Outside the Box" (ECCV 2020, arXiv:2003.02960).

The network is linearised at the original's weights: f(x) + G' w, with G the derivatives of all
logits. Of a ridge regression on D_r and of one on D, the weights differ by what D_f has taught. As
in "Fast-NTK" (arXiv:2312.14923), only scales and shifts of normalisation layers move. So the system
is solved exactly, as one equation per weight and not one per logit.

The authors stretch the difference by a rule that needs the weights from before training, which no
method has here: `scale` stands for it. Logits are linearised where M_o has as good as learned all
labels, so the residuals that carry the direction are small.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mubench import Batch, Problem, Samples, Search

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True, kw_only=True)
class NTKBatchNorm:
    """Move batch norm by what a linearised network loses without D_f (arXiv:2003.02960)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"scale": 1.0, "retain_share": 1.0}
    }

    scale: Annotated[float, Gt(0), Search(1e-1, 1e3, log=True)] = 10.0  # s, of the difference
    ridge: Annotated[float, Gt(0)] | None = None  # lambda of Eq. 6; None: the original's weight
    # decay, the paper's choice
    noise: Annotated[float, Ge(0)] = 1e-9  # variance of the noise on the weights that moved
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.1  # of D_r that stands for all of it;
    # each sample takes K backward passes

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns theta + s (w(D_r) - w(D)) + noise."""
        model, forget, retain = problem.original, problem.forget, problem.retain
        moved = [
            weight for x in model.modules() if isinstance(x, NORMS) for weight in x.parameters()
        ]
        model.requires_grad_(False)
        for weight in moved:
            weight.requires_grad_(True)
        some = problem.share(retain, self.retain_share)
        forget_PP, forget_P = normal_equation(problem, model, forget)
        retain_PP, retain_P = (
            len(retain) / len(some) * part for part in normal_equation(problem, model, some)
        )
        model.requires_grad_(True)

        ridge = self.ridge or problem.recipe.weight_decay or 1e-6

        def regression(gram_PP: Tensor, residual_P: Tensor, count: int) -> Tensor:
            """w(S) = -(G G' + |S| lambda I)^-1 G (softmax - onehot), as in Eq. 6."""
            ridge_PP = count * ridge * torch.eye(len(gram_PP), device=gram_PP.device)
            solved_P: Tensor = torch.linalg.solve(gram_PP + ridge_PP, residual_P)
            return -solved_P

        change_P = regression(retain_PP, retain_P, len(retain)) - regression(
            retain_PP + forget_PP, retain_P + forget_P, len(retain) + len(forget)
        )
        noise_P = torch.randn(change_P.shape, generator=problem.generator("noise"))
        start_P = parameters_to_vector(moved).detach()
        change_P = self.scale * change_P.float() + self.noise**0.5 * noise_P.to(problem.device)
        vector_to_parameters(start_P + change_P, moved)
        return model


def normal_equation(problem: Problem, model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """G G' (P, P) and G (softmax - onehot) (P,) of samples, over P trained weights, in float64."""
    residual_NK = problem.logits(model, samples).double().softmax(1)
    residual_NK -= F.one_hot(samples.labels, problem.num_classes)

    def all_logits(logits_1K: Tensor, _: Batch) -> Tensor:
        return logits_1K[0]

    gram_PP, right_P, start = torch.zeros(()), torch.zeros(()), 0
    for derived in problem.sample_gradients(model, samples, loss=all_logits):
        jacobian_NKP = torch.cat([x.flatten(2) for x in derived.values()], 2).double()
        rows_MP = jacobian_NKP.flatten(0, 1)
        end = start + len(jacobian_NKP)
        gram_PP = rows_MP.T @ rows_MP + gram_PP.to(rows_MP)
        right_P = rows_MP.T @ residual_NK[start:end].flatten() + right_P.to(rows_MP)
        start = end
    return gram_PP, right_P
