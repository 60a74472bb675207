"""Amnesiac unlearning: "Amnesiac Machine Learning" (AAAI 2021, arXiv:2010.10981), by relabelling.

D_f is learned under labels that are wrong, drawn once, with D_r beside it. It is what the method
`random-label` does, under Adam. The paper's other form takes back the steps of the training that
met D_f, and needs a training that has kept them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class Amnesiac:
    """Learn D_f under wrong labels with Adam, beside D_r (arXiv:2010.10981)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"retain_share": 1.0, "copies": 1}
    }

    lr: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 1e-4  # step size of Adam
    epochs: Annotated[int, Ge(1), Search(1, 10)] = 3  # passes over D_f and D_r
    copies: Annotated[int, Ge(1), Search(1, 20)] = 4  # of D_f in a pass; the paper has one, and
    # larger shares to forget
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.3  # of D_r that is seen; the paper's 1
    # takes three epochs
    batch_size: Annotated[int, Ge(2)] = 128  # of the authors' followers

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, tuned on D_r and relabelled D_f."""
        forget = problem.forget
        relabelled = Samples(forget.images, problem.wrong_labels(forget.labels))
        each = torch.arange(len(forget), device=problem.device).repeat(self.copies)
        problem.fine_tune(
            problem.original,
            relabelled[each] + problem.share(problem.retain, self.retain_share),
            epochs=self.epochs,
            lr=self.lr,
            optimizer="adamw",  # without weight decay: Adam
            batch_size=self.batch_size,
        )
        return problem.original
