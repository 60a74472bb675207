"""The numbers that pages print, computed for many models of one case at once.

`metrics.score` is the definition; this is the same arithmetic on stacked arrays, some hundred times
faster on thousands of readouts. A test holds the two together. Membership inference, the scores of
per-sample reports and most standard errors are left to `metrics.score`.

A readout is read here without its test logits, nine tenths of its bytes: the test predictions
beside them are what accuracy is counted from.

Suffixes: R models, G golds, N forget samples, M test samples, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from mubench._util.arrays import Bools, Floats, Ints

from .metrics import constant_guess, js_divergence, l2_distance
from .readout import Arrays

BANDED = ("delta_signed", "activation_distance", "label_accuracy", "label_gain")
"""Metrics whose standard error over samples is computed too."""


@dataclass(frozen=True, eq=False)
class Models:
    """R models of one case, as far as they are compared."""

    predictions_RN: Ints
    right_RN: Bools
    """Where on D_f each is right."""
    probs_RNK: Floats
    """Softmax outputs on D_f."""
    test_right_RM: Bools
    accuracies_R3: Floats
    """On the forget, the retain and the test set."""
    retain_total: int

    @classmethod
    def of(cls, readouts: Sequence[Arrays]) -> "Models":
        """Stacks readouts of the same case."""
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
            test_right_RM=test_right_RM,
            accuracies_R3=np.stack(accuracies, axis=1),
            retain_total=int(readouts[0]["retain"][1]),
        )

    def __getitem__(self, rows: Sequence[int]) -> "Models":
        """Some of them."""
        index = list(rows)
        return Models(
            self.predictions_RN[index], self.right_RN[index], self.probs_RNK[index],
            self.test_right_RM[index], self.accuracies_R3[index], self.retain_total,
        )  # fmt: skip


def per_sample(models: Models, golds: Models) -> dict[str, Floats]:
    """The metrics that are means over the samples of D_f, before the mean: name to (R, N)."""
    gold_right_N = golds.right_RN.mean(axis=0)
    agrees_RN = (models.right_RN[:, None] == golds.right_RN).mean(axis=1)
    return {
        "delta_signed": 100 * (models.right_RN - gold_right_N),
        "activation_distance": _over_golds(l2_distance, models, golds),
        "activation_distance_to_mean": l2_distance(models.probs_RNK, golds.probs_RNK.mean(axis=0)),
        "js_divergence": _over_golds(js_divergence, models, golds),
        "completeness": (models.predictions_RN[:, None] == golds.predictions_RN).mean(axis=1),
        "label_accuracy": agrees_RN,
        "label_gain": agrees_RN - constant_guess(gold_right_N),
    }


def recompute(models: Models, golds: Models) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The metrics of each model, mean over the golds, as `metrics.score` defines them.

    Returns:
        Metric name to values (R,), and for some metrics their standard errors over samples (R,).
    """
    gaps_RG3 = np.abs(models.accuracies_R3[:, None] - golds.accuracies_R3)
    sampled = per_sample(models, golds)
    ones_R = np.ones(len(models.right_RN))
    values = {name: values_RN.mean(axis=1) for name, values_RN in sampled.items()}
    values |= {
        "delta": 100 * gaps_RG3[:, :, 0].mean(axis=1),
        "forget_accuracy": models.accuracies_R3[:, 0],
        "retain_accuracy": models.accuracies_R3[:, 1],
        "test_accuracy": models.accuracies_R3[:, 2],
        "gold_forget_accuracy": golds.accuracies_R3[:, 0].mean() * ones_R,
        "gold_test_accuracy": golds.accuracies_R3[:, 2].mean() * ones_R,
        "all_easy_rate": golds.right_RN.mean() * ones_R,
        "tow": np.prod(1 - gaps_RG3, axis=2).mean(axis=1),
        "avg_gap": gaps_RG3.mean(axis=(1, 2)),
        **_balanced(models, golds),
    }
    count = models.right_RN.shape[1]
    stderrs = {
        name: sampled[name].std(axis=1, ddof=1) / np.sqrt(count) for name in BANDED if count > 1
    }
    return values, stderrs


def leave_one_out(golds: Models) -> list[dict[str, Floats]]:
    """What `recompute` gives for each gold against the others; of at least two."""
    rows = range(len(golds.right_RN))
    return [recompute(golds[[i]], golds[[j for j in rows if j != i]])[0] for i in rows]


def _over_golds(distance: Any, models: Models, golds: Models) -> Floats:
    """Mean over golds of a distance between outputs, (R, N); gold by gold to save memory."""
    total: Floats = sum(distance(models.probs_RNK, probs_NK) for probs_NK in golds.probs_RNK)
    return total / len(golds.probs_RNK)


def _balanced(models: Models, golds: Models) -> dict[str, Floats]:
    """Mean of the recalls on a gold's easy and hard samples, over the golds that have both."""
    recalls = [
        (models.right_RN[:, right_N].mean(axis=1) + 1 - models.right_RN[:, ~right_N].mean(axis=1))
        / 2
        for right_N in golds.right_RN
        if 0 < right_N.mean() < 1
    ]
    return {"label_balanced_accuracy": np.mean(recalls, axis=0)} if recalls else {}
