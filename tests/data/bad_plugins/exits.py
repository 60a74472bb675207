"""Calls sys.exit."""

import sys
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        sys.exit(0)
