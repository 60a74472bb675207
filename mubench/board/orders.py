"""Whether methods keep their order when their settings change: their defaults against a preset.

A board ranks methods with their settings. If the order at a preset is another one, the board's
order is one of settings and not of methods.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from mubench._util.arrays import Floats

from .hypotheses import SIGNIFICANCE, order_p, ratio_of_means
from .ranking import Entry, TaskBoard

LEAST_METHODS = 3
"""Fewer methods have no order to speak of, as two orders of two agree half of the time."""


@dataclass(frozen=True)
class Agreement:
    """How far methods have one order by gap closed at their defaults and at a preset."""

    gaps: Mapping[str, tuple[float, float]]
    """Method to its gap closed at the defaults and at the preset, over the cases of both."""

    @property
    def pairs(self) -> int:
        """Number of pairs of methods."""
        return len(self.gaps) * (len(self.gaps) - 1) // 2

    @property
    def kept(self) -> int:
        """Number of pairs that stand in one order at both; a tie keeps no order."""
        return sum(
            (one[0] - other[0]) * (one[1] - other[1]) > 0
            for one, other in combinations(self.gaps.values(), 2)
        )

    @property
    def tau(self) -> float:
        """Kendall's tau-b, from -1 to 1; 0 if all methods are tied, as there is no order then."""
        return float(np.nan_to_num(stats.kendalltau(*self._columns()).statistic))

    @property
    def p(self) -> float:
        """Two-sided p of the claim that the two orders have to do with each other."""
        return order_p(*self._columns())

    @property
    def could_be_told(self) -> bool:
        """True if equal orders of so many methods would show that they have to do with each other.

        One order of all is equal, and one is turned around.
        """
        return 2 / math.factorial(len(self.gaps)) < SIGNIFICANCE

    def _columns(self) -> tuple[Floats, Floats]:
        defaults_M, preset_M = np.array(list(self.gaps.values())).T
        return defaults_M, preset_M


def agreement(board: TaskBoard, preset: str) -> Agreement:
    """The order of the methods at their defaults against that at a preset.

    Args:
        board: of a task.
        preset: such as `tuned`.

    Returns:
        Of the methods that are no controls and have a gap closed at both.
    """
    entries = {entry.label: entry for entry in board.entries if not entry.is_control}
    gaps = {}
    for method in sorted({entry.method for entry in entries.values()}):
        defaults, other = entries.get(method), entries.get(f"{method} ({preset})")
        if defaults and other and (closed := _gaps_closed(board, defaults, other)):
            gaps[method] = closed
    return Agreement(gaps)


def _gaps_closed(board: TaskBoard, one: Entry, other: Entry) -> tuple[float, float] | None:
    """The gap closed of each of two entries over the cases of both; None if there is no gap."""
    floor = board.floor_means("margin_distance")
    own = [entry.case_means.get("margin_distance", {}) for entry in (one, other)]
    cases = [case for case in floor if all(case in margins for margins in own)]
    if not cases:
        return None
    floor_C = np.array([floor[case] for case in cases])
    ratios = []
    for entry in (one, other):
        margin_C, nothing_C = (
            np.array([entry.case_means[name][case] for case in cases])
            for name in ("margin_distance", "nothing_margin_distance")
        )
        ratios.append(ratio_of_means(nothing_C - margin_C, nothing_C - floor_C))
    first, second = ratios
    return (first.value, second.value) if first and second else None
