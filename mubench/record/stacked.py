"""The arithmetic of the metrics, for many models of one case at once.

Every metric that is a mean over samples, or that follows from accuracies, is computed here on
stacked arrays. `mubench.record.metrics` does so for one model, the readers of records for
thousands.

Shape suffixes: R models, G golds, N forget samples, M test samples, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from scipy.special import logsumexp, rel_entr, softmax

from mubench._util.arrays import Bools, Floats, Ints, Logits

from .readout import Arrays

T = TypeVar("T")

MARGIN_LIMIT = 5.0
"""Margins beyond this count as this. An output that is sure is not told from one that is surer."""

BANDED = (
    "delta_signed", "margin_distance", "activation_distance", "label_accuracy", "label_gain",
)  # fmt: skip
"""Metrics whose standard error over samples is computed too."""


@dataclass(frozen=True, eq=False)
class StackedReadouts:
    """R models of one case, as far as they are compared."""

    predictions_RN: Ints
    """Predicted classes on D_f, (R, N)."""
    right_RN: Bools
    """True where a model is right on D_f, (R, N)."""
    probs_RNK: Floats
    """Softmax outputs on D_f, (R, N, K)."""
    margins_RN: Floats
    """Margins of the true class on D_f, (R, N): see `margins`."""
    test_right_RM: Bools
    """True where a model is right on the test set, (R, M)."""
    accuracies_R3: Floats
    """Fractions right on the forget, the retain and the test set, (R, 3)."""
    retain_total: int
    """Samples in D_r."""

    @classmethod
    def of(cls, readouts: Sequence[Arrays]) -> "StackedReadouts":
        """Stacks the arrays of at least one readout, all of one case."""
        logits_RNK = np.stack([r["forget_logits"] for r in readouts])
        predictions_RN = logits_RNK.argmax(axis=2)
        right_RN = predictions_RN == readouts[0]["forget_labels"]
        test_predictions_RM = np.stack([r["test_predictions"] for r in readouts])
        test_right_RM = test_predictions_RM == readouts[0]["test_labels"]
        retain_R = np.array([r["retain"][0] / r["retain"][1] for r in readouts])
        accuracies = [right_RN.mean(axis=1), retain_R, test_right_RM.mean(axis=1)]
        return cls(
            predictions_RN=predictions_RN,
            right_RN=right_RN,
            probs_RNK=softmax(logits_RNK.astype(np.float64), axis=2),
            margins_RN=margins(logits_RNK, readouts[0]["forget_labels"]),
            test_right_RM=test_right_RM,
            accuracies_R3=np.stack(accuracies, axis=1),
            retain_total=int(readouts[0]["retain"][1]),
        )

    def __len__(self) -> int:
        return len(self.right_RN)

    def __getitem__(self, rows: Sequence[int]) -> "StackedReadouts":
        """The models at these positions."""
        index = list(rows)
        return StackedReadouts(
            self.predictions_RN[index], self.right_RN[index], self.probs_RNK[index],
            self.margins_RN[index], self.test_right_RM[index], self.accuracies_R3[index],
            self.retain_total,
        )  # fmt: skip


def leave_one_out(items: Sequence[T]) -> Iterator[tuple[T, list[T]]]:
    """Each item together with all the others: how golds are scored against each other."""
    for position, item in enumerate(items):
        yield item, [*items[:position], *items[position + 1 :]]


def floor_values(golds: StackedReadouts) -> dict[str, tuple[float, ...]]:
    """What each gold scores against the others, as if that gold were a method.

    Returns:
        Metric name to one value per gold that has the metric, in the metric's unit. Empty below two
        golds, because a single gold has nothing to be compared with.
    """
    if len(golds) < 2:
        return {}
    rows = leave_one_out(range(len(golds)))
    scored = [recompute(golds[[row]], golds[others])[0] for row, others in rows]
    names = dict.fromkeys(name for values in scored for name in values)
    return {n: tuple(float(values[n][0]) for values in scored if n in values) for n in names}


def per_sample(models: StackedReadouts, golds: StackedReadouts) -> dict[str, Floats]:
    """The metrics that are means over the samples of D_f, before the mean.

    `label_gain` is `label_accuracy` less that of the `constant_guess`. The two rise and fall
    together over samples, so the standard error of their difference is the paired one.

    Returns:
        Metric name to values, (R, N): `delta_signed` in percentage points, all others as fractions
        or distances.
    """
    gold_right_N = golds.right_RN.mean(axis=0)
    agrees_RN = (models.right_RN[:, None] == golds.right_RN).mean(axis=1)
    return {
        "delta_signed": 100 * (models.right_RN - gold_right_N),
        "margin_distance": np.mean(
            [np.abs(models.margins_RN - margins_N) for margins_N in golds.margins_RN], axis=0
        ),
        "margin_signed": models.margins_RN - golds.margins_RN.mean(axis=0),
        "activation_distance": _over_golds(l2_distance, models, golds),
        "activation_distance_to_mean": l2_distance(models.probs_RNK, golds.probs_RNK.mean(axis=0)),
        "js_divergence": _over_golds(js_divergence, models, golds),
        "completeness": (models.predictions_RN[:, None] == golds.predictions_RN).mean(axis=1),
        "label_accuracy": agrees_RN,
        "label_gain": agrees_RN - constant_guess(gold_right_N),
    }


def recompute(
    models: StackedReadouts, golds: StackedReadouts
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The metrics of each model, mean over the golds.

    Returns:
        Metric name to values, (R,), and for the `BANDED` metrics their standard errors over
        samples, (R,), in the same units.
    """
    sampled = per_sample(models, golds)
    values = {name: values_RN.mean(axis=1) for name, values_RN in sampled.items()}
    ones_R = np.ones(len(models))
    values |= {
        **gaps(models, golds),
        **fair(models, golds),
        "forget_accuracy": models.accuracies_R3[:, 0],
        "retain_accuracy": models.accuracies_R3[:, 1],
        "test_accuracy": models.accuracies_R3[:, 2],
        "gold_forget_accuracy": golds.accuracies_R3[:, 0].mean() * ones_R,
        "gold_test_accuracy": golds.accuracies_R3[:, 2].mean() * ones_R,
        "all_easy_rate": golds.right_RN.mean() * ones_R,
    }
    if (balanced_R := balanced(models.right_RN, golds.right_RN)) is not None:
        values["label_balanced_accuracy"] = balanced_R
    count = models.right_RN.shape[1]
    stderrs = {
        name: sampled[name].std(axis=1, ddof=1) / np.sqrt(count) for name in BANDED if count > 1
    }
    return values, stderrs


def gaps(models: StackedReadouts, golds: StackedReadouts) -> dict[str, Floats]:
    """What follows from the gaps between the accuracies of models and golds.

    Returns:
        `delta` in percentage points, `tow` (Tug-of-War of RUM, arXiv:2406.01257) and `avg_gap` as
        fractions, each (R,), mean over the golds.
    """
    gaps_RG3 = np.abs(models.accuracies_R3[:, None] - golds.accuracies_R3)
    return {
        "delta": 100 * gaps_RG3[:, :, 0].mean(axis=1),
        "tow": np.prod(1 - gaps_RG3, axis=2).mean(axis=1),
        "avg_gap": gaps_RG3.mean(axis=(1, 2)),
    }


def fair(models: StackedReadouts, golds: StackedReadouts) -> dict[str, Floats]:
    """Distances to the golds less half the distance of the golds from each other.

    This is the fair form of the continuous ranked probability score (Ferro 2014,
    doi:10.1002/qj.2270). A plain distance rewards a model at the median of the golds, which is
    nearer to each gold than another gold is. The fair score does not change that order for a
    single run, but its expectation does not depend on the number of golds.

    Returns:
        `margin_distance_fair`, and `delta_fair` in percentage points, each (R,). Empty below two
        golds, because the distance between golds is unknown.
    """
    if len(golds) < 2:
        return {}
    distances_R = np.mean(
        [np.abs(models.margins_RN - one_N).mean(axis=1) for one_N in golds.margins_RN], axis=0
    )
    accuracy_R1, gold_accuracy_G1 = models.accuracies_R3[:, :1], golds.accuracies_R3[:, :1]
    deltas_R = np.abs(accuracy_R1 - gold_accuracy_G1.T).mean(axis=1)
    return {
        "margin_distance_fair": distances_R - mean_distance(golds.margins_RN) / 2,
        "delta_fair": 100 * (deltas_R - mean_distance(gold_accuracy_G1) / 2),
    }


def energy_distance(models: StackedReadouts, golds: StackedReadouts) -> float:
    """The energy distance between the margins of a method's runs and those of the golds.

    It is twice the mean distance of a run to a gold, less the mean distance between two runs, less
    that between two golds. Its expectation is zero if runs and golds have one distribution on each
    sample, and above zero otherwise. So retraining alone is best, and a median of golds is not.

    Args:
        models: at least two runs of one method on the case.
        golds: at least two golds of the case.
    """
    across = np.abs(models.margins_RN[:, None] - golds.margins_RN).mean()
    within = mean_distance(models.margins_RN) + mean_distance(golds.margins_RN)
    return float(2 * across - within)


def mean_distance(values_RN: Floats) -> float:
    """The mean absolute difference between two different rows of at least two, (R, N)."""
    pairs = combinations(values_RN, 2)
    return float(np.mean([np.abs(one_N - other_N).mean() for one_N, other_N in pairs]))


def margins(logits_RNK: Logits, labels_N: Ints) -> Floats:
    """How sure models are of the true class: its logit less the logsumexp of all others, clipped.

    Args:
        logits_RNK: outputs of R models on D_f, (R, N, K).
        labels_N: the true classes, (N,).

    Returns:
        One margin per model and sample, (R, N), within `MARGIN_LIMIT` of zero.
    """
    clipped_RN: Floats = np.clip(log_odds(logits_RNK, labels_N), -MARGIN_LIMIT, MARGIN_LIMIT)
    return clipped_RN


def log_odds(logits_RNK: Logits, labels_N: Ints) -> Floats:
    """The logarithm of the odds that models give the true class: margins that are not clipped.

    This is the statistic of membership inference and of data attribution (Carlini et al. 2022,
    arXiv:2112.03570; Georgiev et al. 2024, arXiv:2410.23232).

    Args:
        logits_RNK: outputs of R models, (R, N, K).
        labels_N: the true classes, (N,).

    Returns:
        One per model and sample, (R, N), in nats.
    """
    logits_RNK = logits_RNK.astype(np.float64)
    is_true_1NK = np.arange(logits_RNK.shape[2]) == labels_N[None, :, None]
    others_RN = logsumexp(np.where(is_true_1NK, -np.inf, logits_RNK), axis=2)
    true_RN = np.where(is_true_1NK, logits_RNK, 0.0).sum(axis=2)
    log_odds_RN: Floats = true_RN - others_RN
    return log_odds_RN


def balanced(easy_RN: Bools, gold_right_GN: Bools) -> Floats | None:
    """How well guesses find the easy and the hard samples of a gold, both counting alike.

    Args:
        easy_RN: true where a sample is called easy, (R, N).
        gold_right_GN: true where a gold is right, (G, N).

    Returns:
        The mean of the recalls on a gold's easy and hard samples, as a fraction, (R,), mean over
        the golds that have both kinds. None if no gold has both.
    """
    recalls = [
        (easy_RN[:, right_N].mean(axis=1) + 1 - easy_RN[:, ~right_N].mean(axis=1)) / 2
        for right_N in gold_right_GN
        if 0 < right_N.mean() < 1
    ]
    return np.asarray(np.mean(recalls, axis=0), dtype=np.float64) if recalls else None


def l2_distance(probs_XK: Floats, others_XK: Floats) -> Floats:
    """The L2 distance between softmax outputs over K classes, at most the square root of 2.

    Args:
        probs_XK: outputs of any shape X, which broadcasts.
        others_XK: the outputs to compare with.

    Source: activation distance, arXiv:2205.08096.
    """
    distances_X: Floats = np.linalg.norm(probs_XK - others_XK, axis=-1)
    return distances_X


def js_divergence(probs_XK: Floats, others_XK: Floats) -> Floats:
    """The Jensen-Shannon divergence between outputs over K classes, in nats.

    Args:
        probs_XK: outputs of any shape X, which broadcasts.
        others_XK: the outputs to compare with.
    """
    middle_XK = (probs_XK + others_XK) / 2
    terms_XK = (rel_entr(probs_XK, middle_XK) + rel_entr(others_XK, middle_XK)) / 2
    return np.asarray(terms_XK.sum(axis=-1), dtype=np.float64)


def constant_guess(all_easy_N: Floats) -> Floats:
    """The label accuracy per sample of the better guess that knows nothing of any sample, (N,).

    The guess calls every sample easy. If the golds are wrong on most of D_f, it calls every sample
    hard.

    Args:
        all_easy_N: share of golds that are right on each sample, (N,).
    """
    return all_easy_N if all_easy_N.mean() >= 0.5 else 1 - all_easy_N


def _over_golds(
    distance: Callable[[Floats, Floats], Floats], models: StackedReadouts, golds: StackedReadouts
) -> Floats:
    """The mean over golds of a distance between outputs, (R, N); gold by gold to save memory."""
    total: Floats = sum(
        (distance(models.probs_RNK, probs_NK) for probs_NK in golds.probs_RNK),
        start=np.zeros(models.right_RN.shape),
    )
    return total / len(golds)
