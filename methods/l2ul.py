"""L2UL: "Learning to Unlearn" (AAAI 2024, arXiv:2301.11578), by raising the loss of D_f.

D_f is to be all wrong, and nothing else: adversarial images of D_f, under the wrong labels that
they were made for, stand for what D_r says near D_f; weights that matter for the outputs are held.
The aim is an accuracy of zero on D_f, which no retrained model has. Batch norm keeps its
statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class L2UL:
    """Raise the loss of D_f, held by adversarial images of it (arXiv:2301.11578)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"adversarial": 20, "attack_steps": 100, "step_size": 25.5, "epochs": 100}
    }

    lr: Annotated[float, Gt(0), Search(1e-4, 1e-2, log=True)] = 1e-3  # step size of SGD
    stop_accuracy: Annotated[float, Interval(ge=0, lt=1), Search(0, 0.95)] = 0.0  # on D_f, asked
    # after every step
    hold: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0  # lambda, weight of the
    # distance of weights by their importance
    adversarial: Annotated[int, Ge(1)] = 8  # images made of each sample of D_f; the paper has 20
    eps: Annotated[float, Gt(0)] = 1020.0  # Euclidean length of a perturbation, pixels being 0..255
    attack_steps: Annotated[int, Ge(1)] = 10  # of an attack; the paper's 100 cost 4 passes over
    # 50,000 samples for a D_f of 100
    step_size: Annotated[float, Gt(0)] = 128.0  # length of a step of an attack
    epochs: Annotated[int, Ge(1)] = 8  # most passes over D_f and its adversarial images
    batch_size: Annotated[int, Ge(2)] = 288  # the authors' 32 of D_f beside 256 adversarial ones

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, unlearned until D_f is as wrong as it should be."""
        model, forget = problem.original, problem.forget
        each = torch.arange(len(forget), device=problem.device).repeat(self.adversarial)
        targets = problem.wrong_labels(forget.labels[each])
        attacked = problem.attack(
            model,
            forget[each],
            norm="l2",
            eps=self.eps,
            steps=self.attack_steps,
            step_size=self.step_size,
            targets_N=targets,
        )
        # Repeated, so that a batch has one sample of D_f for each eight adversarial images.
        repeated = forget[each[: len(forget) * max(1, round(self.adversarial / 8))]]
        samples = Samples(repeated.images.float(), repeated.labels)
        held = self.held(problem, model, forget)

        def unlearning(logits_NK: Tensor, batch: Batch) -> Tensor:
            """Eq. 5 and 7: CE of adversarial images - CE of D_f + lambda/2 sum held (t - t*)^2."""
            sign_N = torch.where(batch.index_N < len(samples), -1.0, 1.0)
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            value = (sign_N * loss_N).mean()
            for name, weight in model.named_parameters():
                start, stiffness = held[name]
                value = value + self.hold / 2 * (stiffness * (weight - start).square()).sum()
            return value

        problem.fine_tune(
            model,
            samples + Samples(attacked.images, targets),
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=1e-4,
            batch_size=self.batch_size,
            loss=unlearning,
            freeze_batch_norm=True,
            after_step=lambda: bool(
                problem.correct(model, forget).float().mean() <= self.stop_accuracy
            ),
        )
        return model

    def held(
        self, problem: Problem, model: nn.Module, forget: Samples
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """By name of a weight: its start, and 1 - its importance for D_f, scaled to 0..1."""
        importance = problem.gradients(
            model, forget, loss=lambda logits_NK, _: logits_NK.norm(dim=1).mean()
        )
        held = {}
        for name, weight in model.named_parameters():
            value = importance[name].abs()
            low, high = value.min(), value.max()
            scaled = (value - low) / (high - low).clamp_min(1e-12)
            held[name] = (weight.detach().clone(), 1 - scaled)
        return held
