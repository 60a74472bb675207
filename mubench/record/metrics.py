"""Every metric of an unlearned model, from the model's own readout and those of the golds.

Pure functions: numpy in, numbers out, never torch. Sums run over samples in float64, so no batch
size enters. Accuracies, shares and gaps are fractions; only `delta` and `delta_signed` are in
percentage points. A metric that the data cannot give is left out, such as balanced accuracy when
every gold is right everywhere. No value is ever NaN.

The arithmetic of what is a mean over samples stands in `mubench.record.stacked`. Here each number
gets its count and its standard error, and membership inference and reports are added.

Shape suffixes: N forget samples, M test samples, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mubench._util.arrays import Bools, Floats
from mubench._util.errors import DoesNotHold

from . import stacked
from .membership import two_sided_gap
from .readout import Readout, same_case
from .schema import Metric
from .stacked import StackedReadouts, leave_one_out


def score(
    unlearned: Readout, golds: Sequence[Readout], reports: Mapping[str, npt.NDArray[Any]] = {}
) -> dict[str, Metric]:
    """Every metric of one unlearned model; with several golds, the mean over golds.

    Args:
        unlearned: the model's readout.
        golds: readouts of at least one gold of the same case.
        reports: per-sample predictions that the method handed in, in D_f order: `easy`, bool (N,),
            true where the method expects a gold to be right; `easy_score`, float (N,), higher is
            easier.

    Returns:
        Metric name to the metric.

    Raises:
        DoesNotHold: the readouts are of different cases, or a report is not finite.
    """
    assert golds, "scoring needs at least one gold"
    if not all(same_case(gold.arrays, unlearned.arrays) for gold in golds):
        raise DoesNotHold("the unlearned model and a gold were read out on different cases")
    own = StackedReadouts.of([unlearned.arrays])
    others = StackedReadouts.of([gold.arrays for gold in golds])
    return {
        **_accuracies(own, others),
        **_comparisons(own, others),
        **_membership(unlearned, golds),
        **_reports(others, reports),
    }


def floor(golds: Sequence[Readout]) -> dict[str, Metric]:
    """What retraining itself scores: each gold against the others as if it were a method.

    Args:
        golds: readouts of one case.

    Returns:
        Metric name to the mean over golds; its count is the number of ordered pairs. Empty below
        two golds, because a single gold has nothing to be compared with. There is no standard
        error: the pairs share golds, and of two golds both pairs are the same. A gold meets one
        gold fewer than a method does, which makes its `activation_distance_to_mean` slightly
        larger.
    """
    if len(golds) < 2:
        return {}
    rows = [score(gold, others) for gold, others in leave_one_out(golds)]
    pairs = len(golds) * (len(golds) - 1)
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: np.mean([row[name].value for row in rows if name in row]) for name in names}
    return {name: Metric(value=float(mean), count=pairs) for name, mean in means.items()}


def energy_distance(runs: Sequence[Readout], golds: Sequence[Readout]) -> Metric:
    """The energy distance between the margins of a method's runs on a case and of its golds.

    Args:
        runs: readouts of at least two runs of one method.
        golds: readouts of at least two golds of the same case.
    """
    own = StackedReadouts.of([run.arrays for run in runs])
    others = StackedReadouts.of([gold.arrays for gold in golds])
    return Metric(value=stacked.energy_distance(own, others), count=own.right_RN.shape[1])


def _accuracies(own: StackedReadouts, golds: StackedReadouts) -> dict[str, Metric]:
    """Accuracies of the model and the golds, and what follows from their gaps."""
    retain, total = float(own.accuracies_R3[0, 1]), own.retain_total
    retain_stderr = math.sqrt(retain * (1 - retain) / (total - 1)) if total > 1 else None
    num_forget, num_test = own.right_RN.shape[1], own.test_right_RM.shape[1]
    counts = {"delta": num_forget, "tow": num_forget + total + num_test}
    counts["avg_gap"] = counts["tow"]
    return {
        **{
            name: Metric(value=float(values_R[0]), count=counts[name])
            for name, values_R in stacked.gaps(own, golds).items()
        },
        **{
            name: Metric(value=float(values_R[0]), count=num_forget)
            for name, values_R in stacked.fair(own, golds).items()
        },
        "forget_accuracy": mean_metric(own.right_RN[0]),
        "retain_accuracy": Metric(value=retain, count=total, stderr=retain_stderr),
        "test_accuracy": mean_metric(own.test_right_RM[0]),
        "gold_forget_accuracy": mean_metric(golds.right_RN.mean(axis=0)),
        "gold_test_accuracy": mean_metric(golds.test_right_RM.mean(axis=0)),
        "all_easy_rate": mean_metric(golds.right_RN.mean(axis=0)),
    }


def _comparisons(own: StackedReadouts, golds: StackedReadouts) -> dict[str, Metric]:
    """How close outputs and predictions on D_f are to those of the golds."""
    sampled = stacked.per_sample(own, golds)
    return {
        **{name: mean_metric(values_RN[0]) for name, values_RN in sampled.items()},
        **_balanced("label_balanced_accuracy", own.right_RN[0], golds),
    }


def _membership(unlearned: Readout, golds: Sequence[Readout]) -> dict[str, Metric]:
    """Membership inference on the model, next to the golds' value; `mia_gap` is of the AUC."""
    attack = unlearned.attack
    gold_attacks = [gold.attack for gold in golds if gold.attack is not None]
    if attack is None:
        return {}
    assert len(gold_attacks) == len(golds)  # the same labels, so the same counts
    gold_aucs = [gold.auc for gold in gold_attacks]
    gold_accuracies = [gold.accuracy for gold in gold_attacks]
    values = {
        "mia_auc": attack.auc,
        "mia_accuracy": attack.accuracy,
        "gold_mia_auc": float(np.mean(gold_aucs)),
        "gold_mia_accuracy": float(np.mean(gold_accuracies)),
        "mia_gap": two_sided_gap(attack.auc, gold_aucs),
        "mia_accuracy_gap": two_sided_gap(attack.accuracy, gold_accuracies),
    }
    if attack.tpr is not None:
        values["mia_tpr_at_1pct_fpr"] = attack.tpr
    return {name: Metric(value=value, count=attack.count) for name, value in values.items()}


def _reports(golds: StackedReadouts, reports: Mapping[str, npt.NDArray[Any]]) -> dict[str, Metric]:
    """How well the method foretold where a gold is right."""
    scores: dict[str, Metric] = {}
    count = golds.right_RN.shape[1]
    for name, report in reports.items():
        assert name in ("easy", "easy_score") and report.shape == (count,)  # Problem.report checks
        if not np.isfinite(report).all():
            raise DoesNotHold(f"the method's report {name!r} has values that are not finite")
    if "easy" in reports:
        agrees_N = (reports["easy"] == golds.right_RN).mean(axis=0)
        scores["predictor_label_accuracy"] = mean_metric(agrees_N)
        scores |= _balanced("predictor_balanced_accuracy", reports["easy"], golds)
    mixed = [right_N for right_N in golds.right_RN if 0 < right_N.mean() < 1]
    if "easy_score" in reports and mixed:
        from sklearn.metrics import roc_auc_score  # here: a second to import, and seldom needed

        aucs = [roc_auc_score(right_N, reports["easy_score"]) for right_N in mixed]
        scores["predictor_auroc"] = Metric(value=float(np.mean(aucs)), count=count)
    return scores


def mean_metric(values_N: Bools | Floats) -> Metric:
    """The mean over samples, (N,), with its count and standard error."""
    count = len(values_N)
    stderr = float(np.std(values_N, ddof=1)) / math.sqrt(count) if count > 1 else None
    return Metric(value=float(np.mean(values_N)), count=count, stderr=stderr)


def _balanced(name: str, easy_N: Bools, golds: StackedReadouts) -> dict[str, Metric]:
    recall_R = stacked.balanced(easy_N[None], golds.right_RN)
    if recall_R is None:
        return {}
    return {name: Metric(value=float(recall_R[0]), count=len(easy_N))}
