"""Every metric of an unlearned model, computed from readouts: its own and those of the golds.

Pure functions: numpy in, numbers out, never torch. Sums run over samples in float64, so no batch
size enters. Accuracies, shares and gaps are fractions; only `delta` and `delta_signed` are in
percentage points. A metric that the data cannot give (say, balanced accuracy when every gold is
right everywhere) is left out; no value is ever NaN.

Suffixes: N forget samples, M test samples, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from mubench._util.arrays import Bools, Floats
from mubench._util.errors import DoesNotHold

from .membership import two_sided_gap
from .readout import Readout


@dataclass(frozen=True)
class Score:
    """A number and what stands behind it."""

    value: float
    count: int
    """Samples that the value is computed from; in a floor, ordered pairs of golds."""
    stderr: float | None = None
    """Standard error over the samples, paired with the golds'. It does not cover the spread between
    seeds. None where the value is no mean over samples."""


def score(
    unlearned: Readout, golds: Sequence[Readout], reports: Mapping[str, npt.NDArray[Any]] = {}
) -> dict[str, Score]:
    """Every metric of one unlearned model; with several golds, the mean over golds.

    Args:
        unlearned: the model's readout.
        golds: readouts of at least one gold of the same case.
        reports: per-sample predictions that the method handed in, in D_f order: `easy`, bool (N,),
            true where it expects a gold to be right; `easy_score`, float (N,), higher is easier.

    Returns:
        Metric name to score.

    Raises:
        DoesNotHold: no gold, readouts of different cases, or a report that is not finite.
    """
    if not golds:
        raise DoesNotHold("scoring needs at least one gold")
    for gold in golds:
        if not (
            np.array_equal(gold.forget_labels_N, unlearned.forget_labels_N)
            and np.array_equal(gold.test_labels_M, unlearned.test_labels_M)
            and gold.retain_total == unlearned.retain_total
        ):
            raise DoesNotHold("the unlearned model and a gold were read out on different cases")
    return {
        **_accuracy_scores(unlearned, golds),
        **_output_scores(unlearned, golds),
        **_label_scores(unlearned, golds),
        **_membership_scores(unlearned, golds),
        **_report_scores(golds, reports),
    }


def floor(golds: Sequence[Readout]) -> dict[str, Score]:
    """What retraining itself scores: each gold against the others as if it were a method.

    Args:
        golds: readouts of one case.

    Returns:
        Metric name to the mean over golds, its count the number of ordered pairs; empty below two
        golds, which have nothing to be compared with. There is no standard error: the pairs share
        golds, and of two golds both pairs are the same. A gold meets one gold fewer than a method
        does, which makes its `activation_distance_to_mean` slightly larger.
    """
    if len(golds) < 2:
        return {}
    rows = [score(gold, [*golds[:i], *golds[i + 1 :]]) for i, gold in enumerate(golds)]
    pairs = len(golds) * (len(golds) - 1)
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: Score(float(np.mean([row[name].value for row in rows if name in row])), pairs)
        for name in names
    }


def _accuracy_scores(unlearned: Readout, golds: Sequence[Readout]) -> dict[str, Score]:
    """Accuracies and their gaps; `tow` is Tug-of-War (RUM, arXiv:2406.01257)."""
    gaps = np.abs([unlearned.accuracies - gold.accuracies for gold in golds])  # (golds, f r t)
    gold_right_N = mean_over_golds([gold.forget_right_N for gold in golds])
    gold_right_M = mean_over_golds([gold.test_right_M for gold in golds])
    retain = float(unlearned.accuracies[1])
    total = unlearned.retain_total
    retain_stderr = math.sqrt(retain * (1 - retain) / (total - 1)) if total > 1 else None
    everything = len(gold_right_N) + total + len(gold_right_M)
    return {
        "delta": Score(100 * float(gaps[:, 0].mean()), len(gold_right_N)),
        "delta_signed": _mean(100 * (unlearned.forget_right_N - gold_right_N)),
        "forget_accuracy": _mean(unlearned.forget_right_N),
        "retain_accuracy": Score(retain, total, retain_stderr),
        "test_accuracy": _mean(unlearned.test_right_M),
        "gold_forget_accuracy": _mean(gold_right_N),
        "gold_test_accuracy": _mean(gold_right_M),
        "tow": Score(float(np.prod(1 - gaps, axis=1).mean()), everything),
        "avg_gap": Score(float(gaps.mean()), everything),
    }


def _output_scores(unlearned: Readout, golds: Sequence[Readout]) -> dict[str, Score]:
    """Outputs on D_f: L2 distance (arXiv:2205.08096; at most sqrt 2), JS divergence in nats."""
    probs_NK = unlearned.forget_probs_NK
    mean_gold_NK = mean_over_golds([gold.forget_probs_NK for gold in golds])
    distances = [l2_distance(probs_NK, gold.forget_probs_NK) for gold in golds]
    divergences = [js_divergence(probs_NK, gold.forget_probs_NK) for gold in golds]
    same = [unlearned.forget_predictions_N == gold.forget_predictions_N for gold in golds]
    return {
        "activation_distance": _mean(mean_over_golds(distances)),
        "activation_distance_to_mean": _mean(l2_distance(probs_NK, mean_gold_NK)),
        "js_divergence": _mean(mean_over_golds(divergences)),
        "completeness": _mean(mean_over_golds(same)),
    }


def _label_scores(unlearned: Readout, golds: Sequence[Readout]) -> dict[str, Score]:
    """Is the model right exactly where a gold is?

    `label_gain` is `label_accuracy` less that of the `constant_guess`. The two rise and fall
    together over samples, so its paired standard error is the one that the sample test needs.
    """
    all_easy_N = mean_over_golds([gold.forget_right_N for gold in golds])
    agrees_N = agreement(unlearned.forget_right_N, golds)
    return {
        "label_accuracy": _mean(agrees_N),
        "all_easy_rate": _mean(all_easy_N),
        "label_gain": _mean(agrees_N - constant_guess(all_easy_N)),
        **_balanced("label_balanced_accuracy", unlearned.forget_right_N, golds),
    }


def _membership_scores(unlearned: Readout, golds: Sequence[Readout]) -> dict[str, Score]:
    """Membership inference on the model, next to the golds' value; `mia_gap` is of the AUC."""
    attack = unlearned.attack
    gold_aucs = [gold.attack.auc for gold in golds if gold.attack is not None]
    if attack is None:
        return {}
    assert len(gold_aucs) == len(golds)  # the same labels, so the same counts
    values = {
        "mia_auc": attack.auc,
        "mia_accuracy": attack.accuracy,
        "gold_mia_auc": float(np.mean(gold_aucs)),
        "mia_gap": two_sided_gap(attack.auc, gold_aucs),
    }
    if attack.tpr is not None:
        values["mia_tpr_at_1pct_fpr"] = attack.tpr
    return {name: Score(value, attack.count) for name, value in values.items()}


def _report_scores(
    golds: Sequence[Readout], reports: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Score]:
    """How well the method foretold where a gold is right."""
    scores: dict[str, Score] = {}
    count = len(golds[0].forget_labels_N)
    for name, report in reports.items():
        assert name in ("easy", "easy_score") and report.shape == (count,)  # Problem.report checks
        if not np.isfinite(report).all():
            raise DoesNotHold(f"the method's report {name!r} has values that are not finite")
    if "easy" in reports:
        scores["predictor_label_accuracy"] = _mean(agreement(reports["easy"], golds))
        scores |= _balanced("predictor_balanced_accuracy", reports["easy"], golds)
    mixed = _with_both(golds)
    if "easy_score" in reports and mixed:
        from sklearn.metrics import roc_auc_score  # here: a second to import, and seldom needed

        aucs = [roc_auc_score(gold.forget_right_N, reports["easy_score"]) for gold in mixed]
        scores["predictor_auroc"] = Score(float(np.mean(aucs)), count)
    return scores


def _mean(values_N: Bools | Floats) -> Score:
    """The mean over samples with its standard error."""
    count = len(values_N)
    stderr = float(np.std(values_N, ddof=1)) / math.sqrt(count) if count > 1 else None
    return Score(float(np.mean(values_N)), count, stderr)


def mean_over_golds(values: Sequence[Bools | Floats]) -> Floats:
    """The mean over golds of arrays with equal shapes."""
    return np.asarray(np.mean(values, axis=0), dtype=np.float64)


def l2_distance(probs_XK: Floats, others_XK: Floats) -> Floats:
    """Between outputs over K classes; any shape X, which broadcasts."""
    distances_X: Floats = np.linalg.norm(probs_XK - others_XK, axis=-1)
    return distances_X


def js_divergence(probs_XK: Floats, others_XK: Floats) -> Floats:
    """Between outputs over K classes, in nats; any shape X, which broadcasts."""
    middle_XK = (probs_XK + others_XK) / 2
    terms_XK = (rel_entr(probs_XK, middle_XK) + rel_entr(others_XK, middle_XK)) / 2
    return np.asarray(terms_XK.sum(axis=-1), dtype=np.float64)


def agreement(easy_N: Bools, golds: Sequence[Readout]) -> Floats:
    """Per sample, the share of golds that are right where `easy_N` and wrong elsewhere."""
    return mean_over_golds([easy_N == gold.forget_right_N for gold in golds])


def constant_guess(all_easy_N: Floats) -> Floats:
    """Per sample, the label accuracy of the better guess that knows nothing of any sample.

    It calls every sample easy; where the golds are wrong on most of D_f, every sample hard.
    """
    return all_easy_N if all_easy_N.mean() >= 0.5 else 1 - all_easy_N


def _balanced(name: str, easy_N: Bools, golds: Sequence[Readout]) -> dict[str, Score]:
    """Mean of the recalls on a gold's easy and hard samples, over the golds that have both."""
    recalls = [
        (easy_N[gold.forget_right_N].mean(), 1 - easy_N[~gold.forget_right_N].mean())
        for gold in _with_both(golds)
    ]
    return {name: Score(float(np.mean(recalls)), len(easy_N))} if recalls else {}


def _with_both(golds: Sequence[Readout]) -> list[Readout]:
    """The golds that are right on some of D_f and wrong on some."""
    return [gold for gold in golds if 0 < gold.forget_right_N.mean() < 1]
