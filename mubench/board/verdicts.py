"""What a board says of each entry: is it closer to retraining than doing nothing, and how close?

Everything is judged over cases, in margin distance (see `record/stacked.margins`). *Nothing* is the
original that a cell starts from, scored as if it were a method. The *floor* is a gold scored
against the other golds.

1. **Better than nothing**: the margin distance is below that of nothing by more than a twentieth
   of the way to the floor (exact sign-flip test), and the activation distance is not shown to be
   above. The second is needed because the margin sees only the true class. A hard sample that is
   sent to a random wrong class passes the first alone. A twentieth is asked for because a method
   that hardly changes a model can change it by nearly nothing, and for the better in each case.
2. **Keeps the model**: the interval of the test accuracy lies within a point of the golds', or
   above.
3. **Equivalent to retraining**: of those that are better than nothing, the mean margin distance is
   within half the gap from nothing to floor of the floor's (two one-sided t tests), and the label
   gain is not shown to be below that of golds by more than a twentieth of the way from nothing to
   them (exact sign-flip test). The second is needed because half the gap is much where D_f is
   large. There a method that gets the right number of images wrong passes the first, whichever
   these are.

Every test is corrected for the number of entries by Benjamini and Hochberg's method, candidates and
controls apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import networkx
import numpy as np

from mubench._util.arrays import Floats
from mubench._util.statistics import CASES_FOR_INTERVAL, mean_interval

from .hypotheses import (
    SIGNIFICANCE,
    Ratio,
    equivalence_p,
    false_discovery,
    holm,
    least_difference,
    ratio_of_means,
    sign_flip_p,
)

UTILITY_LOSS = 0.01
"""Most test accuracy, as a fraction, that a method may lose against the golds."""
RELEVANT_SHARE = 0.05
"""Least share of the way from nothing to the floor that counts, for better or worse."""
EQUIVALENCE_SHARE = 0.5
"""Margin of the equivalence test, as a share of the distance from nothing to the floor."""


class Verdict(StrEnum):
    """What is shown of an entry."""

    EQUIVALENT = "equivalent to retraining"
    BETTER = "better than nothing"
    NOT_SHOWN = "not shown"
    WORSE = "worse than nothing"


@dataclass(frozen=True)
class Evidence:
    """The numbers of an entry that a verdict rests on, each (C,), one per case."""

    margin_C: Floats
    """Margin distance to the golds."""
    activation_C: Floats
    """Activation distance to the golds."""
    lost_accuracy_C: Floats
    """Test accuracy of the golds less that of the method, as fractions."""
    nothing_margin_C: Floats
    """Margin distance of nothing."""
    nothing_activation_C: Floats
    """Activation distance of nothing."""
    floor_margin_C: Floats
    """Margin distance of a gold to the others."""
    shift_C: Floats
    """Mean margin on D_f less that of the golds: above zero, the method is surer than they are."""
    label_gain_C: Floats
    """Label gain of the method, as a fraction: how well it knows which images golds get wrong."""
    nothing_label_gain_C: Floats
    """Label gain of nothing."""
    floor_label_gain_C: Floats
    """Label gain of a gold against the others."""

    @property
    def gained_C(self) -> Floats:
        """Margin distance of nothing less that of the method."""
        return self.nothing_margin_C - self.margin_C

    @property
    def gap_C(self) -> Floats:
        """Margin distance of nothing less that of the floor."""
        return self.nothing_margin_C - self.floor_margin_C

    @property
    def relevant_C(self) -> Floats:
        """The least gain, and the least loss, that counts."""
        return RELEVANT_SHARE * np.maximum(self.gap_C, 0)

    @property
    def unknown_C(self) -> Floats:
        """Label gain of a gold less that of the method, less what does not count."""
        lacks_C = self.floor_label_gain_C - self.label_gain_C
        way_C = np.maximum(self.floor_label_gain_C - self.nothing_label_gain_C, 0)
        return lacks_C - RELEVANT_SHARE * way_C


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on; every p is adjusted for the number of entries."""

    verdict: Verdict
    keeps_model: bool
    """True if the test accuracy is shown to be within a point of the golds'."""
    gap_closed: Ratio | None
    """The share of the gap from nothing to floor that the method closes. None: there is no gap."""
    p_better: float
    """Of the claim that the margin distance is below that of nothing, by what is relevant."""
    p_worse: float
    """Of the claim that the margin distance is above that of nothing, by what is relevant."""
    p_activation_worse: float
    """Of the claim that the activation distance is above that of nothing."""
    p_labels_worse: float
    """Of the claim that the label gain is below that of golds, by what is relevant."""
    p_retraining: float
    """Of the claim that the method is told from retraining: see `retraining_p`."""
    p_equivalent: float
    """Of the claim that the margin distance is the floor's, within the margin of equivalence."""

    @property
    def is_better(self) -> bool:
        """True if the entry is shown to be better than doing nothing."""
        return self.verdict in (Verdict.EQUIVALENT, Verdict.BETTER)

    @property
    def passes(self) -> bool:
        """True if the entry is better than nothing and keeps the model, so that it has a rank."""
        return self.keeps_model and self.is_better

    @property
    def order(self) -> tuple[int, float]:
        """A key that sorts entries as the page shows them."""
        is_open = self.verdict is Verdict.NOT_SHOWN
        levels = [self.passes, self.is_better, is_open and self.keeps_model, is_open, True]
        group = levels.index(True)
        return group, -self.gap_closed.value if self.gap_closed else 0.0


UNJUDGED = (3, 0.0)
"""The `Judgement.order` of an entry without a judgement, as if nothing were shown of it."""
P_VALUES = (
    "p_better", "p_worse", "p_activation_worse", "p_labels_worse", "p_retraining", "p_equivalent",
)  # fmt: skip
"""The fields of a judgement that are p values, in the order of the page."""


def judge(evidence: Mapping[str, Evidence]) -> dict[str, Judgement]:
    """The judgements of a family of entries, which are corrected for one another.

    Args:
        evidence: of each entry, by its label; all over the same cases.

    Returns:
        Label to judgement. Empty below three cases, which can show nothing.
    """
    items = list(evidence.values())
    if not items or len(items[0].margin_C) < CASES_FOR_INTERVAL:
        return {}
    gained_CE = np.stack([one.gained_C for one in items], axis=1)
    beyond_CE = np.stack([one.margin_C - one.floor_margin_C for one in items], axis=1)
    activation_CE = np.stack([one.activation_C - one.nothing_activation_C for one in items], axis=1)
    shift_CE = np.stack([one.shift_C for one in items], axis=1)
    relevant_CE = np.stack([one.relevant_C for one in items], axis=1)
    unknown_CE = np.stack([one.unknown_C for one in items], axis=1)
    differences = [gained_CE - relevant_CE, -gained_CE - relevant_CE, activation_CE, unknown_CE]
    one_sided = sign_flip_p(np.hstack(differences), "greater")
    count = len(items)
    families = [one_sided[start : start + count] for start in range(0, len(one_sided), count)]
    tests = zip(
        *map(false_discovery, families),
        false_discovery(retraining_p(beyond_CE, shift_CE)),
        false_discovery([_equivalence_p(one) for one in items]),
        strict=True,
    )
    return {
        label: _judgement(one, *p_values)
        for (label, one), p_values in zip(evidence.items(), tests, strict=True)
    }


def retraining_p(beyond_CE: Floats, shift_CE: Floats) -> list[float]:
    """The p of E null hypotheses, each of which says that an entry is retraining.

    A gold is as far from the other golds as they are from each other, and as sure as they are. Both
    are tested. A small shift of all margins hardly changes distances, and a spread hardly shifts.

    Args:
        beyond_CE: margin distance less that of the floor, (C, E), a row per case.
        shift_CE: mean margin less that of the golds, (C, E).

    Returns:
        The lesser of two exact sign-flip p, twice, because there are two.
    """
    both = sign_flip_p(np.hstack([beyond_CE, shift_CE]), "two-sided")
    pairs = zip(both[: len(both) // 2], both[len(both) // 2 :], strict=True)
    return [min(1.0, 2 * min(pair)) for pair in pairs]


def _equivalence_p(evidence: Evidence) -> float:
    margin = EQUIVALENCE_SHARE * float(evidence.gap_C.mean())
    if margin <= 0:  # nothing is as close as a gold, so closeness shows nothing
        return 1.0
    return equivalence_p((evidence.margin_C - evidence.floor_margin_C).tolist(), margin)


def _judgement(
    evidence: Evidence,
    p_better: float,
    p_worse: float,
    p_activation_worse: float,
    p_labels_worse: float,
    p_retraining: float,
    p_equivalent: float,
) -> Judgement:
    if p_better < SIGNIFICANCE <= p_activation_worse:
        is_equivalent = p_equivalent < SIGNIFICANCE <= p_labels_worse
        verdict = Verdict.EQUIVALENT if is_equivalent else Verdict.BETTER
    else:
        verdict = Verdict.WORSE if p_worse < SIGNIFICANCE else Verdict.NOT_SHOWN
    lost = mean_interval(evidence.lost_accuracy_C.tolist())
    assert lost.half_width is not None, "there are enough cases"
    return Judgement(
        verdict=verdict,
        keeps_model=lost.mean + lost.half_width < UTILITY_LOSS,
        gap_closed=ratio_of_means(evidence.gained_C, evidence.gap_C),
        p_better=p_better,
        p_worse=p_worse,
        p_activation_worse=p_activation_worse,
        p_labels_worse=p_labels_worse,
        p_retraining=p_retraining,
        p_equivalent=p_equivalent,
    )


def groups(margins: Mapping[str, Floats]) -> dict[str, str]:
    """Letters of entries: two that share a letter cannot be told apart.

    Each pair is told apart by the exact sign-flip test of the margin distances, paired by case and
    corrected for the number of pairs by Holm's method.

    Args:
        margins: label to margin distances per case, (C,), in the order of the page.

    Returns:
        Label to its letters, in alphabetical order.
    """
    labels = list(margins)
    pairs = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    if not pairs:
        return dict.fromkeys(labels, "a")
    differences_CE = np.stack([margins[a] - margins[b] for a, b in pairs], axis=1)
    p_values = holm(sign_flip_p(differences_CE, "two-sided"))
    alike = networkx.Graph()
    alike.add_nodes_from(labels)
    alike.add_edges_from(pair for pair, p in zip(pairs, p_values, strict=True) if p >= SIGNIFICANCE)
    cliques = [sorted(map(labels.index, clique)) for clique in networkx.find_cliques(alike)]
    letters = dict.fromkeys(labels, "")
    for number, clique in enumerate(sorted(cliques)):
        for position in clique:
            letters[labels[position]] += _letter(number)
    return letters


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"


def least_gap_difference(evidence: Sequence[Evidence]) -> float | None:
    """The least difference between two entries that the design could have told, in gap closed.

    Args:
        evidence: of at least one entry, over the same cases.

    Returns:
        A share of the gap; None if there is nothing to compare, or no gap.
    """
    pairs = [(a, b) for i, a in enumerate(evidence) for b in evidence[i + 1 :]]
    count = len(evidence[0].margin_C) if evidence else 0
    if not pairs or count < CASES_FOR_INTERVAL:
        return None
    spreads = [float(np.std(a.margin_C - b.margin_C, ddof=1)) for a, b in pairs]
    gap = float(np.mean([one.gap_C.mean() for one in evidence]))
    return least_difference(float(np.median(spreads)), count) / gap if gap > 0 else None
