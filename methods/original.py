"""The original itself: nothing is done. Shows how far a method has to go."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mubench import Problem


@dataclass(frozen=True, kw_only=True)
class Original:
    """Do nothing: the original as it is."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    control: ClassVar[bool] = True
    expected_failures: ClassVar[dict[str, str]] = {"check_changes_weights": "does nothing"}

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o."""
        return problem.original
