"""Where the spread of an entry's numbers comes from: the cases, the originals, or the rest.

A task may have several originals. Where an entry ran from every original on some cases, the two
factors cross, and an analysis of variance by the method of moments (Searle, Casella and McCulloch
1992, section 4.5) tells their shares apart. The rest is the method's own seed, and what a case and
an original do together.

Suffixes: C cases, O originals.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mubench._util.arrays import Floats
from mubench.record.check import Checked

from .ranking import TaskBoard

LEAST = 2
"""Fewest cases, and fewest originals, that cross."""


@dataclass(frozen=True)
class Components:
    """The variances of a number, in squares of its unit, none below zero."""

    cases: float
    originals: float
    rest: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """The fractions of the whole; all zero if nothing varies."""
        whole = self.cases + self.originals + self.rest
        parts = (self.cases, self.originals, self.rest)
        cases, originals, rest = (part / whole if whole else 0.0 for part in parts)
        return cases, originals, rest


@dataclass(frozen=True)
class Crossed:
    """The components of a task's entries."""

    components: Components
    """Mean over entries."""
    entries: int
    """Entries whose cases and originals cross."""
    cases: tuple[int, int]
    """The fewest and the most cases of an entry that cross."""
    originals: int


def variance_components(values_CO: Floats) -> Components:
    """Splits the variance of crossed values by the method of moments.

    Args:
        values_CO: one value per case and original, (C, O), at least two of each.
    """
    (num_cases, num_originals), mean = values_CO.shape, values_CO.mean()
    cases_C, originals_O = values_CO.mean(axis=1), values_CO.mean(axis=0)
    residuals_CO = values_CO - cases_C[:, None] - originals_O + mean
    rest = float((residuals_CO**2).sum()) / ((num_cases - 1) * (num_originals - 1))
    return Components(
        cases=max(0.0, float(cases_C.var(ddof=1)) - rest / num_originals),
        originals=max(0.0, float(originals_O.var(ddof=1)) - rest / num_cases),
        rest=rest,
    )


def crossed(board: TaskBoard, measure: str) -> Crossed | None:
    """The components of a measure, mean over the entries that ran from every original.

    Args:
        board: of a task.
        measure: its name.

    Returns:
        None if the task has one original, or no entry whose cases and originals cross.
    """
    count = board.task.measure.originals
    if count < LEAST:
        return None
    tables = [_table(entry.records, measure, count) for entry in board.entries
              if not entry.is_control]  # fmt: skip
    found = [values_CO for values_CO in tables if len(values_CO) >= LEAST]
    if not found:
        return None
    parts = [variance_components(values_CO) for values_CO in found]
    numbers = [len(values_CO) for values_CO in found]
    return Crossed(_mean(parts), len(found), (min(numbers), max(numbers)), count)


def _table(records: Iterable[Checked], measure: str, count: int) -> Floats:
    """Mean over seeds per case and original, (C, O), of the cases that every original started."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in records:
        if one.values:
            by_original = values[one.record.case]
            by_original[one.record.original_seed].append(one.values[measure])
    rows = [
        [fmean(by_original[original]) for original in range(count)]
        for _, by_original in sorted(values.items())
        if len(by_original) == count
    ]
    return np.array(rows).reshape(len(rows), count)


def _mean(parts: Sequence[Components]) -> Components:
    return Components(
        cases=fmean(one.cases for one in parts),
        originals=fmean(one.originals for one in parts),
        rest=fmean(one.rest for one in parts),
    )
