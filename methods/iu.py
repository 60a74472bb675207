"""Influence unlearning, as in "Model Sparsity Can Simplify ..." (NeurIPS 2023, arXiv:2304.04934).

One Newton step. H is the empirical Fisher information of some samples of D_r, as in WoodFisher
(arXiv:2004.14340), and the system is solved exactly by Woodbury's identity. The authors' code adds
no gradient but the first to its inverse, so its step is as good as plain gradient ascent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn

from mubench import Problem, Search


@dataclass(frozen=True, kw_only=True)
class IU:
    """Step by the inverse Fisher information along D_f's influence (arXiv:2304.04934)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"fisher_share": 0.02, "alpha": 0.2}
    }

    alpha: Annotated[float, Gt(0), Search(1e-3, 10, log=True)] = (
        0.02  # length of the step, in Newton
    )
    # steps; by a whole one a network of ten epochs is lost
    damping: Annotated[float, Gt(0), Search(1e-5, 1e-1, log=True)] = 1e-3  # lambda, added to H
    fisher_share: Annotated[float, Interval(gt=0, le=1)] = 0.005  # of D_r in H, whose gradients are
    # kept in memory; the paper's 1000 of CIFAR-10 are .02
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 1.0  # of D_r in the mean gradient

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns theta + alpha H^-1 v, v = (n_f / n) (grad CE(D_f) - grad CE(D_r))."""
        model, forget, retain = problem.original, problem.forget, problem.retain
        of_forget = problem.gradients(model, forget)
        of_retain = problem.gradients(model, problem.share(retain, self.retain_share))
        share = len(forget) / (len(forget) + len(retain))
        influence_P = share * (flat(of_forget) - flat(of_retain))
        some = problem.share(retain, self.fisher_share)
        each_NP = torch.cat(
            [
                torch.cat([value.flatten(1) for value in chunk.values()], 1)
                for chunk in problem.sample_gradients(model, some)
            ]
        )
        step_P = self.alpha * self.solve(each_NP, influence_P)
        sizes = [weight.numel() for weight in model.parameters()]
        with torch.no_grad():
            for weight, step in zip(model.parameters(), torch.split(step_P, sizes), strict=True):
                weight.add_(step.view_as(weight))
        return model

    def solve(self, each_NP: Tensor, right_P: Tensor) -> Tensor:
        """(G'G / N + lambda I)^-1 v = (v - G' (N lambda I + G G')^-1 G v) / lambda."""
        n = len(each_NP)
        gram_NN = (each_NP @ each_NP.T).double()
        gram_NN += n * self.damping * torch.eye(n, device=gram_NN.device)
        along_N: Tensor = torch.linalg.solve(gram_NN, (each_NP @ right_P).double())
        solved_P: Tensor = (right_P - each_NP.T @ along_N.float()) / self.damping
        return solved_P


def flat(gradients: Mapping[str, Tensor]) -> Tensor:
    """One vector of the gradients of all weights, in their order."""
    return torch.cat([value.flatten() for value in gradients.values()])
