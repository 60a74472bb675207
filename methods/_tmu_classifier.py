"""What TMU makes of its features: its classifier (arXiv:2408.11433, section 4.4), or a rank sum.

Suffixes: N samples of the twin problem, M of D_f, F features.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem


def robust_scale(value_NF: Tensor, like_NF: Tensor) -> Tensor:
    """Clips 1.5 interquartile ranges beyond the quartiles, then z-scores, both as `like` says."""
    first_F, third_F = like_NF.quantile(0.25, dim=0), like_NF.quantile(0.75, dim=0)
    reach_F = 1.5 * (third_F - first_F)
    low_F, high_F = first_F - reach_F, third_F + reach_F
    clipped_NF = like_NF.clamp(low_F, high_F)
    std_F = clipped_NF.std(0, correction=0).clamp_min(1e-6)
    return (value_NF.clamp(low_F, high_F) - clipped_NF.mean(0)) / std_F


def scaled(
    twin_NF: Tensor, forget_MF: Tensor, scale: Literal["each", "twin"]
) -> tuple[Tensor, Tensor]:
    """Features of the twin problem and of D_f, each scaled within itself or both as the twin's."""
    like_NF = forget_MF if scale == "each" else twin_NF
    return robust_scale(twin_NF, twin_NF), robust_scale(forget_MF, like_NF)


def classify(
    problem: Problem,
    kind: Literal["mlp", "logistic"],
    twin_NF: Tensor,
    easy_N: Tensor,
    forget_MF: Tensor,
) -> Tensor:
    """Trains on the twin problem for 100 epochs of SGD, as the paper, and applies to D_f.

    On the CPU, wherever the rest runs: a few hundred steps on three numbers each.

    Args:
        problem: gives seeds.
        kind: with hidden layers of 64 and 32 units, or without.
        twin_NF: scaled features of D_t.
        easy_N: bool, their answers.
        forget_MF: scaled features of D_f.

    Returns:
        (M,): P(easy).
    """
    x_NF, y_N = twin_NF.cpu(), easy_N.float().cpu()
    generator = problem.generator("classifier batches")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(problem.seed_for("classifier weights"))
        sizes = [x_NF.shape[1], 64, 32, 1] if kind == "mlp" else [x_NF.shape[1], 1]
        layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
    network = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(100):
        for index in torch.split(torch.randperm(len(x_NF), generator=generator), 128):
            optimizer.zero_grad()
            logits_B = network(x_NF[index]).squeeze(1)
            F.binary_cross_entropy_with_logits(logits_B, y_N[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        easy_M: Tensor = network(forget_MF.cpu()).squeeze(1).sigmoid()
    return easy_M.to(forget_MF.device)


def rank_sum(forget_MF: Tensor) -> Tensor:
    """Easiness of D_f without anything learned, (M,) in 0..1: one less the mean rank of features.

    Every feature is known to grow with how hard a sample is.
    """
    rank_MF = forget_MF.argsort(dim=0, stable=True).argsort(dim=0)
    return 1 - rank_MF.float().mean(1) / len(forget_MF)
