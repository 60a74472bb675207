"""TMU: "Towards Aligned Data Removal via Twin Machine Unlearning" (arXiv:2408.11433).

Aim at the accuracy that the gold has on D_f, not at zero: the gold gets *easy* samples of D_f right
and *hard* ones wrong. Which is which is told from features of each sample; then only the hard ones
are unlearned. As published (preset `paper`), a classifier learns it on a twin problem whose answers
are known. The original M_o, fine-tuned on held-out samples D_t, is a twin M_t with the forget set
D_t and the gold M_o (Eq. 2): a sample of D_t is easy if M_o gets it right.

The default keeps the aim and takes the shortest known way to it. M_o is erased and restarted, which
alone comes nearly as near to a gold as another gold. The restarted model has as good as never seen
D_f, so its margins rank the samples better than a classifier does. How many are hard is read off
held-out samples. Those that have to change are moved just over the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from mubench import Problem, Samples, Search

from ._last_step import LAST_STEP, PAPER_STEP, LastStep, is_gone
from ._quota import KAPPA, GoldGuess, hardest, num_hard
from ._restart import OFF, RESTART, Restart
from ._tmu_classifier import classify, rank_sum, scaled
from ._tmu_features import LOOKS, Feature, Looks
from ._tmu_twin import TWIN, Twin


@dataclass(frozen=True, kw_only=True)
class TMU:
    """Predict what the gold will get wrong, unlearn only that (arXiv:2408.11433)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "restart": OFF,
            "features": ["nf", "af", "cf"],
            "looks": {
                "neighbours": 5,
                "attack": "pgd",
                "attack_eps": 4.0,
                "curriculum": "paper",
                "young_share": 0.3,
                "young_epochs": 2,
            },
            "twin": {"size": "eq3", "pool": 1},
            "classifier": "mlp",
            "quota": "threshold",
            "threshold": 0.5,
            "last_step": PAPER_STEP,
        },
    }

    restart: Restart = RESTART  # what is done to all of D_f before any marks; controls share it
    features: tuple[Feature, ...] = ("stranger",)  # of a sample: nf, af, cf as published;
    # its margin under the model that was trained on it; its margin under a stranger, which is the
    # restarted model, or a young network if there is none
    looks: Looks = LOOKS  # how they are computed
    classifier: Literal["rank-sum", "logistic", "mlp"] = "rank-sum"  # nothing learned; or learned
    # on the twin problem, without hidden layers or with those of 64 and 32 units
    twin: Twin = TWIN  # how twin problems are made, if one is needed
    scale: Literal["each", "twin"] = "each"  # features scaled within each problem, which absorbs a
    # shift between the two, or both as in the twin problem
    quota: Literal["deficit", "held-out", "twin", "threshold"] = "deficit"  # how many are hard: as
    # many as held-out samples say, with or without what a gold has seen less of D_f's classes; in
    # the twin's proportion; or as many as the classifier says
    kappa: Annotated[float, Ge(0), Search(0, 4)] = KAPPA  # deficit: how strongly networks react to
    # it, 1 by Bayes' rule
    threshold: Annotated[float, Interval(gt=0, lt=1)] = 0.5  # threshold: P(easy) from which a
    # sample is easy. The paper does not say; the code's is .622
    last_step: LastStep = LAST_STEP  # how marks take effect; the controls share it

    def __post_init__(self) -> None:
        if self.classifier == "rank-sum" and self.quota == "threshold":
            raise ValueError('a rank sum is no P(easy): quota = "threshold" needs a classifier')

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, restarted, and revised for the samples of D_f that should be hard."""
        gone_N = is_gone(problem)
        score_N, is_hard_N = torch.zeros(len(gone_N), device=problem.device), gone_N.clone()
        with problem.part("erase and restart"):
            start, logits_NK = self.restart.begin(problem)
        with problem.part("marks"):
            if not gone_N.all():
                known = problem.forget[~gone_N]
                stranger = start if self.restart.epochs != 0 else None
                score_N[~gone_N], is_hard_N[~gone_N] = self.predict(problem, stranger, known)
        problem.report("easy", ~is_hard_N)
        problem.report("easy_score", score_N)
        with problem.part("last step"):
            return self.last_step.apply(problem, start, is_hard_N, logits_NK)

    def predict(
        self, problem: Problem, restarted: nn.Module | None, forget: Samples
    ) -> tuple[Tensor, Tensor]:
        """Generalisation labels of D_f, without a gold.

        Args:
            problem: the problem.
            restarted: the restarted model, if there is one.
            forget: the samples of D_f whose class is not gone.

        Returns:
            For each sample how easy it is, in 0..1, and whether it counts as hard.
        """
        guess = GoldGuess.of(problem, self.kappa if self.quota == "deficit" else 0.0)
        needs_twin = self.classifier != "rank-sum" or self.quota == "twin" or "cf" in self.features
        parts = self.twin.sets(problem, forget) if needs_twin else []
        answers = [guess.correct(problem, part) for part in parts]  # Eq. 2
        strangers = {
            "cf": lambda: self.looks.young(problem, forget, parts),
            "stranger": lambda: self.looks.stranger(problem, restarted),
        }
        others = {name: strangers[name]() for name in self.features if name in strangers}

        def look(member: nn.Module, samples: Samples, bank: Samples) -> Tensor:
            return self.looks.features(problem, self.features, samples, member, others, bank)

        forget_MF = look(problem.original, forget, problem.retain)
        if self.classifier == "rank-sum":
            score_M = rank_sum(forget_MF)
        else:
            everything = forget + problem.retain
            twins = [self.twin.model(problem, everything, part) for part in parts]
            rows = [look(twin, part, everything) for twin, part in zip(twins, parts, strict=True)]
            twin_NF, forget_MF = scaled(torch.cat(rows), forget_MF, self.scale)
            score_M = classify(problem, self.classifier, twin_NF, torch.cat(answers), forget_MF)
        if self.quota == "threshold":
            return score_M, score_M < self.threshold
        if self.quota == "twin":
            easy_M = torch.cat(answers).float().mean().repeat(len(forget))
        else:
            easy_M = guess.accuracy_K[forget.labels]
        return score_M, hardest(score_M, num_hard(1 - easy_M))
