"""AMUN: "AMUN: Adversarial Machine UNlearning" (ICML 2025, arXiv:2503.00917).

Each sample of D_f gets an adversarial neighbour, under the wrong class that the original gives it.
Fine-tuning on both, the sample with its own label, lowers the confidence where D_f lies. The
neighbour is that of the least eps that flips the class, as eps is doubled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class AMUN:
    """Fine-tune on D_f and its nearest adversarial images (arXiv:2503.00917)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "epochs": 10, "retain_share": 1.0, "repeats": 1, "decay": 0.1, "batch_size": 128,
            "attack_steps": 50,
        }
    }  # fmt: skip

    epochs: Annotated[int, Ge(1), Search(1, 5, step=1)] = 2  # passes over D_f, its neighbours and
    # the share of D_r
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r, for cost
    repeats: Annotated[int, Ge(1), Search(1, 20, step=1)] = 5  # visits of D_f and its neighbours in
    # a pass
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    decay: Annotated[float, Interval(gt=0, le=1)] = 1.0  # factor on lr after each epoch
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # of SGD
    batch_size: Annotated[int, Ge(2)] | None = None  # samples per step; None: the recipe's
    eps: Annotated[float, Gt(0)] = 10.2  # first length of a change; pixels are 0..255
    attack_steps: Annotated[int, Ge(1)] = 20  # of eps / 10, before eps is doubled
    doublings: Annotated[int, Ge(0)] = 6  # most of eps; who has not flipped then has no neighbour

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, tuned on D_f and its neighbours."""
        model = problem.original
        forget = problem.forget + self.neighbours(problem, problem.forget)
        index = torch.arange(len(forget), device=problem.device).repeat(self.repeats)
        samples = forget[index] + problem.share(problem.retain, self.retain_share)
        trainer = problem.trainer(
            model,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
        )
        for _ in range(self.epochs):
            trainer.epoch(samples)
            trainer.lr *= self.decay
        return model

    def neighbours(self, problem: Problem, samples: Samples) -> Samples:
        """The first adversarial images that M_o gives a wrong class, under that class (alg. 1).

        Args:
            problem: has the original, and attacks it.
            samples: to start from. Those that no eps flips are left out.
        """
        model, eps = problem.original, self.eps
        found = samples[:0]
        for _ in range(self.doublings + 1):
            if not len(samples):
                break
            moved = problem.attack(
                model, samples, norm="l2", eps=eps, steps=self.attack_steps, step_size=eps / 10
            )
            classes_N = problem.logits(model, moved).argmax(1)
            is_flipped_N = classes_N.ne(samples.labels)
            found = found + Samples(moved.images[is_flipped_N], classes_N[is_flipped_N])
            samples, eps = samples[~is_flipped_N], 2 * eps
        return found
