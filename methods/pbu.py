"""Partially-Blinded Unlearning: "... Class Unlearning for Deep Networks" (arXiv:2403.16246).

The loss of D_f rises while the weights are held where they were: all of them a little, and those
that the Fisher information of D_f weighs more. The paper has settings for classes of MNIST only,
found by search. On D_f alone, batch norm would take over the statistics of one class; so it is
frozen, but in the preset `paper`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search

from ._fisher import under_own_labels


@dataclass(frozen=True, kw_only=True)
class PBU:
    """Raise the loss of D_f within reach of the weights of M_o (arXiv:2403.16246)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"lr": 1e-4, "freeze_batch_norm": False, "clip": None}
    }

    forget_weight: Annotated[float, Gt(0), Search(1, 1e5, log=True)] = 721.0  # alpha, of the loss
    # of D_f; with Adam only its ratio to the next two counts
    fisher_weight: Annotated[float, Ge(0), Search(1, 1e4, log=True)] = 90.0  # beta, of the distance
    # of weights by the Fisher information
    distance_weight: Annotated[float, Ge(0), Search(1e1, 1e5, log=True)] = 4001.0  # gamma, of the
    # plain squared distance of weights
    lr: Annotated[float, Gt(0), Search(1e-6, 1e-3, log=True)] = 1e-5  # step size of Adam;
    # the paper's 1e-4 is of a small network
    epochs: Annotated[int, Ge(1), Search(1, 20)] = 5  # passes over D_f; the paper's
    batch_size: Annotated[int, Ge(2)] = 64  # the paper's
    freeze_batch_norm: bool = True  # whether running statistics stay as they are
    clip: Annotated[float, Gt(0)] | None = 2.0  # most that the loss of D_f counts, in units of
    # ln K, the loss of a guess; None: without end

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, moved by Eq. 9 of the paper."""
        model, forget = problem.original, problem.forget
        fisher = problem.gradients(
            model, forget, loss=under_own_labels, square=True, per_sample=True
        )
        held = {
            name: (
                weight.detach().clone(),
                self.fisher_weight * fisher[name] + self.distance_weight,
            )
            for name, weight in model.named_parameters()
        }
        most = self.clip * math.log(problem.num_classes) if self.clip else math.inf

        def blinded(logits_NK: Tensor, batch: Batch) -> Tensor:
            """-alpha CE + beta (t - t*)' F (t - t*) + gamma |t - t*|^2, over the weights t."""
            distance = torch.zeros((), device=problem.device)
            for name, weight in model.named_parameters():
                start, stiffness = held[name]
                distance = distance + (stiffness * (weight - start).square()).sum()
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            return distance - self.forget_weight * loss_N.clamp(max=most).mean()

        problem.fine_tune(
            model,
            forget,
            epochs=self.epochs,
            lr=self.lr,
            optimizer="adamw",  # without weight decay: Adam
            batch_size=self.batch_size,
            loss=blinded,
            freeze_batch_norm=self.freeze_batch_norm,
        )
        return model
