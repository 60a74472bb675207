"""SCRUB: "Towards Unbounded Machine Unlearning" (NeurIPS 2023, arXiv:2302.09880).

A student that starts as the original is pushed away from its teacher, the original, on D_f, and
held to it on D_r. The preset is the paper's for 100 images of one class of CIFAR-10. Its passes
over all of D_r cost more than the default's over a share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from mubench import Problem

from ._scrub import PASSES, Passes


@dataclass(frozen=True, kw_only=True)
class Scrub:
    """Disobey the teacher on D_f, obey it on D_r (arXiv:2302.09880)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"passes": {"retain_share": 1}}}

    passes: Passes = PASSES  # over D_f and D_r

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the student after the last epoch."""
        *_, student = self.passes.students(problem)
        return student
