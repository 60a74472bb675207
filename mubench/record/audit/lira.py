"""The arithmetic of the per-sample audit: a likelihood-ratio attack with golds as shadow models.

The attack is the online one of Carlini et al. 2022, arXiv:2112.03570. On each sample of D_f it
holds the model's log-odds of the true class against two normal distributions: those of models that
were trained with the sample and of models that were not. The paper trains shadow models for both.
Here the golds of other cases are the first and the golds of the case the second, so none is
trained. As in the paper where shadow models are few, one variance serves for all samples of a kind.
Unlike in the paper, each model's median log-odds on the test set are subtracted first. Otherwise a
model that is less sure of everything would pass for one that has forgotten.

What the attack makes of a gold is what it makes of a model that never saw D_f. Each gold of a case
is left out of the fit once, and then both that gold and the model under attack are scored. So a
model that retraining could have given has an AUROC of 0.5 and a true positive rate of 1% at 1%
false positives, however few the golds are. No original takes part in a fit.

Suffixes: G golds, N samples of one D_f, J left-out golds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mubench._util.arrays import Bools, Floats
from mubench._util.statistics import MeanInterval, mean_interval
from mubench.record.readout import Readout, compact
from mubench.record.stacked import log_odds

FPR = 0.01
"""The false positive rate at which the attack's true positive rate is told."""


@dataclass(frozen=True)
class Normals:
    """A normal distribution per sample, fitted to few models."""

    mean_N: Floats
    """Means, (N,)."""
    std_N: Floats
    """Standard deviations of another model's value, (N,): they cover that a mean is uncertain."""

    @classmethod
    def of(cls, values_GN: Floats, counts_GN: Bools) -> "Normals":
        """Fits a mean per sample and one variance for all.

        Args:
            values_GN: one value per model and sample, (G, N).
            counts_GN: true where a value counts, (G, N): at least once per sample.
        """
        number_N = counts_GN.sum(axis=0)
        freedom = (number_N - 1).sum()
        assert number_N.min() > 0 and freedom > 0, "too few models"
        mean_N = np.where(counts_GN, values_GN, 0.0).sum(axis=0) / number_N
        squares = float((np.where(counts_GN, values_GN - mean_N, 0.0) ** 2).sum())
        variance = max(squares / float(freedom), np.finfo(np.float64).tiny)
        return cls(mean_N, np.sqrt(variance * (1 + 1 / number_N)))

    def log_density(self, values_N: Floats) -> Floats:
        """The logarithm of the density of each value, (N,), up to a constant."""
        return -np.log(self.std_N) - ((values_N - self.mean_N) / self.std_N) ** 2 / 2


def log_likelihood_ratio(values_N: Floats, models_GN: Floats, trained_GN: Bools) -> Floats:
    """How much more likely a model's values are if the model was trained on the samples, (N,).

    Args:
        values_N: log-odds of the model under attack, (N,).
        models_GN: the same of models whose training is known, (G, N).
        trained_GN: true where such a model was trained on a sample, (G, N).

    Returns:
        The logarithm of the ratio, in nats; above zero speaks for training.
    """
    trained, untrained = (Normals.of(models_GN, counts) for counts in (trained_GN, ~trained_GN))
    return trained.log_density(values_N) - untrained.log_density(values_N)


def memorisation(right_GN: Bools, trained_GN: Bools) -> Floats:
    """How much more often models are right on a sample if they were trained on it, (N,).

    Args:
        right_GN: true where a model is right, (G, N).
        trained_GN: true where a model was trained on a sample, (G, N): both kinds on each sample.

    Returns:
        A difference of shares, from -1 to 1.

    Source: Feldman and Zhang 2020, arXiv:2008.03703, equation 1.
    """
    with_N = (right_GN & trained_GN).sum(axis=0) / trained_GN.sum(axis=0)
    without_N = (right_GN & ~trained_GN).sum(axis=0) / (~trained_GN).sum(axis=0)
    memorised_N: Floats = with_N - without_N
    return memorised_N


def centred_log_odds(readout: Readout) -> Floats:
    """A model's log-odds of the true class on D_f less their median on the test set, (N,).

    All logits are rounded to float16, as the union readouts of golds are.
    """
    forget_1NK = compact(readout.forget_logits_NK)[None]
    log_odds_N: Floats = log_odds(forget_1NK, readout.forget_labels_N)[0] - median_log_odds(readout)
    return log_odds_N


def median_log_odds(readout: Readout) -> float:
    """The median log-odds of the true class on the test set, in nats."""
    logits_1MK, labels_M = compact(readout.test_logits_MK)[None], readout.test_labels_M
    return float(np.median(log_odds(logits_1MK, labels_M)))


@dataclass(frozen=True)
class Scores:
    """What the attack makes of models on one case, once per gold that is left out of the fit."""

    models_JN: Floats
    """Log-likelihood ratios of the models under attack, (J, N): all that were scored, stacked."""
    golds_JN: Floats
    """The same of the golds that are left out, (J, N)."""
    threshold: float
    """The score above which a sample is called a member: see `threshold_of`."""

    @cached_property
    def auroc(self) -> float:
        """The probability that a sample of a model has a higher score than one of a gold."""
        from sklearn.metrics import roc_auc_score  # here: a second to import

        scores = np.concatenate([self.models_JN.ravel(), self.golds_JN.ravel()])
        is_model = np.arange(len(scores)) < self.models_JN.size
        return float(roc_auc_score(is_model, scores))

    @property
    def tpr(self) -> float:
        """The share of the models' samples that are called members."""
        return float((self.models_JN > self.threshold).mean())


def threshold_of(golds: Sequence[Floats]) -> float:
    """The score above which a sample is called a member: `FPR` of the golds' samples are above.

    Args:
        golds: scores of left-out golds, (J, N), of at least one case. One threshold serves for all
            cases, because the scores of one case are too few.
    """
    scores = np.concatenate([golds_JN.ravel() for golds_JN in golds])
    return float(np.quantile(scores, 1 - FPR, method="higher"))


@dataclass(frozen=True)
class Leak:
    """What the attack achieves against some models, over cases."""

    auroc: MeanInterval
    """Area under the ROC curve; 0.5 for retraining."""
    tpr: MeanInterval
    """Share of samples that are called members, at a threshold that calls `FPR` of golds' so."""

    @classmethod
    def of(cls, cases: Sequence[Scores]) -> "Leak":
        """The means over at least one case."""
        return cls(
            mean_interval([case.auroc for case in cases]),
            mean_interval([case.tpr for case in cases]),
        )
