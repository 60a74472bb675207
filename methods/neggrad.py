"""Negative gradient: fall on D_r and climb on D_f, in one loss.

The baseline of "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433), which
credits "Eternal Sunshine of the Spotless Net" (arXiv:1911.04933): fine-tune on D while the loss of
D_f is raised. Neither says how the climb ends; `clip` and `stop_accuracy` do that here. Nor do they
say how often D_f is met, which decides how far it falls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Interval
from torch import nn

from mubench import Problem

from ._ascent import Ascent


@dataclass(frozen=True, kw_only=True)
class NegGrad(Ascent):
    """Fine-tune on D with the gradient of D_f turned round (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The whole of D_r, and visits until D_f is where the paper's runs ended, at 10.6%.
        "paper": {"retain_share": 1.0, "visits": 40, "stop_accuracy": 0.106},
    }

    stop_accuracy: Annotated[float, Interval(ge=0, le=1)] = 0.1  # on D_f, that ends the training

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o after descent on D_r and ascent on D_f."""
        return self.climb(problem, self.stop_accuracy)
