"""Replaces what it will be measured by, when it is imported and again when it runs."""

from dataclasses import dataclass
from typing import ClassVar

from mubench.record import metrics
from mubench.record.schema import Metric
from mubench.training import loop


def flatter(*_, **__):
    return {"delta": Metric(value=0.0, count=1)}


def patch():
    metrics.score = metrics.floor = flatter
    loop.predict = lambda model, samples, *_, **__: samples.labels[:, None] == 0


patch()


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        patch()
        return problem.original
