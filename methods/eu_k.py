"""EU-k: "Towards Adversarial Evaluations for Inexact Machine Unlearning" (arXiv:2201.06640).

Exact unlearning of the last k blocks: they and the classifier are made anew and trained on D_r with
the original's recipe, the rest stays. Squeezed into a share of the schedule it is cheap. The code
of arXiv:2302.09880 neither resets nor trains the classifier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Interval
from torch import nn

from mubench import Problem, Search

from ._last_blocks import freeze_all_but_last


@dataclass(frozen=True, kw_only=True)
class EUk:
    """Retrain the last blocks from scratch on D_r (arXiv:2201.06640)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"share": 1.0}}

    blocks: Annotated[int, Ge(0), Search(0, 3, step=1)] = 1  # k, blocks that are retrained with the
    # classifier
    share: Annotated[float, Interval(gt=0, le=1), Search(0.1, 0.4)] = 0.3  # of the original's
    # epochs, into which its schedule is squeezed

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o with its last blocks retrained."""
        model = problem.original
        last = freeze_all_but_last(problem, model, self.blocks)
        fresh = problem.stages(problem.fresh_network())[-len(last) :]
        for block, new in zip(last, fresh, strict=True):
            block.load_state_dict(new.state_dict())
        problem.train_like_original(
            model, problem.retain, epochs=problem.schedule_share(None, self.share)
        )
        return model.requires_grad_()
