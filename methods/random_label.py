"""Random labels: D_f is learned anew under labels that are wrong.

The baseline of "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which
credits "Amnesiac Machine Learning" (arXiv:2010.10981). Labels are drawn once and are never the
truth; the paper says neither, but its D_f ends at 0%.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Samples


@dataclass(frozen=True, kw_only=True)
class RandomLabel:
    """Fine-tune on D with a fixed wrong label for each sample of D_f (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})

    epochs: Annotated[int, Ge(1)] | None = None  # passes over D; None: 0.2 of the original's
    # epochs, since D_f is met only once in each
    lr: Annotated[float, Gt(0)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the paper's originals were trained

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, tuned on D with D_f relabelled."""
        forget = problem.forget
        relabelled = Samples(forget.images, problem.wrong_labels(forget.labels))
        problem.fine_tune(
            problem.original,
            relabelled + problem.retain,
            epochs=problem.schedule_share(self.epochs, 0.2),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return problem.original
