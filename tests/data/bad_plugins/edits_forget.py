"""Writes into the tensors that it was given."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})

    def unlearn(self, problem):
        for samples in (problem.forget, problem.retain, problem.holdout):
            samples.images.zero_()
            samples.labels.fill_(0)
        return problem.original
