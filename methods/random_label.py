"""Random labels: D_f is learned anew under labels that are wrong.

The baseline of "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which
credits "Amnesiac Machine Learning" (arXiv:2010.10981). Labels are drawn once and are never the
truth; the paper says neither, but its D_f ends at 0%. Nor does it say how often D_f is met.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Samples, Search

from ._visits import beside_retain, once_at_most


@dataclass(frozen=True, kw_only=True)
class RandomLabel:
    """Fine-tune on D with a fixed wrong label for each sample of D_f (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The whole of D_r, and visits until D_f is where the paper's runs ended, at 0%.
        "paper": {"retain_share": 1.0, "visits": 40},
    }

    visits: Annotated[int, Ge(1), Search(5, 50)] = 10  # how often each sample of D_f is met, unless
    # the end comes before
    epochs: Annotated[int, Ge(1)] = 2  # passes in which that happens
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r, in each pass; no less
    # than there are visits
    stop_accuracy: Annotated[float, Interval(ge=0, le=1), Search(0, 1)] = 0.0  # on D_f, that ends
    # the training
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the paper's originals were trained

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, tuned on D with D_f relabelled."""
        model, forget = problem.original, problem.forget
        samples, _ = beside_retain(
            problem,
            Samples(forget.images, problem.wrong_labels(forget.labels)),
            visits=self.visits,
            epochs=self.epochs,
            retain_share=self.retain_share,
        )
        problem.fine_tune(
            model,
            samples,
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            after_step=once_at_most(problem, model, forget, self.stop_accuracy),
        )
        return model
