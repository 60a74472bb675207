"""Takes memory without end."""

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        hoard = []
        while True:
            hoard.append(torch.ones(2**26))
