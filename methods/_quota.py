"""How many samples of each class a gold gets right that it never saw. No gold is asked for it.

Suffixes: N samples of D_f, M of the holdout, K classes.
"""

import math
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from mubench import Problem, Samples

KAPPA = 2.0  # multiple of the shift by Bayes' rule by which networks react: measured without golds
# on cats of CIFAR-10, where networks trained with and without 4,000 of them differ by 2.1


@dataclass(frozen=True)
class GoldGuess:
    """M_o's answers, moved to where those of a model would be that has learned D_r alone.

    A gold has seen fewer images of D_f's classes than M_o, so it names those classes less often. By
    Bayes' rule, log-probabilities fall by the log of the ratio of the class's shares in D and in
    D_r. Trained networks react by `kappa` times that.
    """

    temperature: float
    """By which logits are divided to be log-probabilities, as far as the holdout tells."""
    shift_K: Tensor
    """What is taken off the log-probability of each class."""
    accuracy_K: Tensor
    """Accuracy on held-out samples of each class. Zero for a class that D_r lacks; for one that the
    holdout lacks, the accuracy on all of it."""

    @classmethod
    def of(cls, problem: Problem, kappa: float = 0.0) -> "GoldGuess":
        """The guess; M_o's own answers if kappa is zero.

        Args:
            problem: must give `forget`, `retain` and `holdout`.
            kappa: multiple of the shift by Bayes' rule.
        """
        retain_K, forget_K = (
            samples.labels.bincount(minlength=problem.num_classes)
            for samples in (problem.retain, problem.forget)
        )
        whole_K, is_left_K = retain_K + forget_K, retain_K > 0
        share_K, left_K = whole_K / whole_K.sum(), retain_K / retain_K.sum()
        shift_K = kappa * (share_K / left_K).log().where(is_left_K, 0.0)
        labels_M = problem.holdout.labels
        logits_MK = problem.logits(problem.original, problem.holdout)
        temperature = _temperature(logits_MK, labels_M) if kappa else 1.0
        right_M = (logits_MK / temperature - shift_K).argmax(1).eq(labels_M).float()
        accuracy_K = right_M.mean().repeat(problem.num_classes)
        for label in torch.unique(labels_M):
            accuracy_K[label] = right_M[labels_M == label].mean()
        return cls(temperature, shift_K, accuracy_K.where(is_left_K, 0.0))

    def correct(self, problem: Problem, samples: Samples) -> Tensor:
        """Bool (N,): whether the guess is right on samples that M_o was not trained on."""
        logits_NK = problem.logits(problem.original, samples)
        return (logits_NK / self.temperature - self.shift_K).argmax(1).eq(samples.labels)


def num_hard(rate_N: Tensor) -> int:
    """How many samples are hard, given how probable that is for each."""
    return round(rate_N.double().sum().item())


def hardest(score_N: Tensor, count: int) -> Tensor:
    """Bool (N,): so many samples, those of the lowest score."""
    is_hard_N = torch.zeros_like(score_N, dtype=torch.bool)
    is_hard_N[score_N.argsort(stable=True)[:count]] = True
    return is_hard_N


def _temperature(logits_MK: Tensor, labels_M: Tensor) -> float:
    """The temperature at which logits are best calibrated: of least cross entropy."""
    logits_MK = logits_MK.double()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits_MK / math.exp(log_temperature), labels_M).item()

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
