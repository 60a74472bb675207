"""Returns weights that are not numbers."""

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        with torch.no_grad():
            next(problem.original.parameters()).fill_(float("nan"))
        return problem.original
