"""What TMU's classifier reads of a sample: each number grows with how hard the sample is.

NF, AF and CF are the paper's (arXiv:2408.11433, section 4.3). None of them is what M_o says of the
sample itself, which tells more than the three together: what was learned with effort keeps a small
margin. The fifth is the margin under a stranger, a network that has not seen the sample.

Suffixes: N samples, M samples of the bank, D features, K classes, F features of the classifier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem, Samples, Search

from ._tmu_attack import CHUNK, adversarial

Feature: TypeAlias = Literal["nf", "af", "cf", "margin", "stranger"]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How the features are computed."""

    neighbours: Annotated[int, Ge(1)] = 5  # NF: nearest that are averaged over
    unit_length: bool = True  # NF: features scaled to length one, as in the code
    attack: Literal["pgd", "code"] = "pgd"  # AF: in pixels, or the code's variant
    attack_eps: Annotated[float, Gt(0), Search(0.03, 4, log=True)] = 0.1  # AF: of 255. The paper's
    # 4 moves every prediction and tells nothing apart. Chosen without golds, on the twins of dog
    # and deer in cifar10-subset, which are scored there
    attack_steps: Annotated[int, Ge(1)] = 10  # AF: of eps/4
    curriculum: Literal["members", "paper", "code"] = "members"  # CF: a share of D_r, all of D_f
    # and D_t, so that both are members; a share of D and D_t; D
    young_share: Annotated[float, Interval(gt=0, le=1)] = 0.3  # CF, and a stranger where nothing is
    # restarted: that share
    young_epochs: Annotated[int, Ge(1)] = 2  # CF and stranger: of M_o's recipe

    def young(self, problem: Problem, forget: Samples, parts: list[Samples]) -> nn.Module:
        """M_r of CF: new, and trained for a short while; one for both problems."""
        retain = problem.retain
        held_out = sum(parts[1:], parts[0])
        if self.curriculum == "members":
            samples = problem.share(retain, self.young_share) + forget + held_out
        elif self.curriculum == "paper":
            samples = problem.share(forget + retain, self.young_share) + held_out
        else:
            samples = forget + retain
        return self._trained(problem, samples)

    def stranger(self, problem: Problem, restarted: nn.Module | None) -> nn.Module:
        """A network to which D_f and D_t are strange alike: the restarted one, or a new one."""
        if restarted is not None:
            return restarted
        return self._trained(problem, problem.share(problem.retain, self.young_share))

    def _trained(self, problem: Problem, samples: Samples) -> nn.Module:
        network = problem.fresh_network()
        problem.train_like_original(network, samples, epochs=self.young_epochs)
        return network

    def features(
        self,
        problem: Problem,
        names: tuple[Feature, ...],
        samples: Samples,
        member: nn.Module,
        others: Mapping[Feature, nn.Module],
        bank: Samples,
    ) -> Tensor:
        """The features of samples, (N, F), in the order of `names`.

        Args:
            problem: computes outputs.
            names: which.
            samples: N to describe.
            member: that was trained on `samples` and on `bank`.
            others: the young network of `cf` and the network of `stranger`, by feature.
            bank: what remains.
        """
        columns = {
            "nf": lambda: self.neighbourhood(problem, member, samples, bank),
            "af": lambda: adversarial(
                problem,
                member,
                samples,
                eps=self.attack_eps,
                steps=self.attack_steps,
                variant=self.attack,
            ),
            "cf": lambda: curriculum(problem, others["cf"], samples),
            "margin": lambda: -margin(problem.logits(member, samples), samples.labels),
            "stranger": lambda: (
                -margin(problem.logits(others["stranger"], samples), samples.labels)
            ),
        }
        return torch.stack([columns[name]() for name in names], dim=1)

    def neighbourhood(
        self, problem: Problem, model: nn.Module, samples: Samples, bank: Samples
    ) -> Tensor:
        """NF, Eq. 4: mean distance to the nearest of the remaining samples of the same class.

        "Within the forget class in D_f", as the paper has it, cannot be meant: what the gold will
        know of a class lies in D_r.

        Args:
            problem: gives the features.
            model: that was trained on `samples` and on `bank`; features of both come from it.
            samples: N to describe.
            bank: where neighbours are looked for. Must not contain the samples themselves.
        """
        bank = bank[torch.isin(bank.labels, samples.labels)]
        query_ND, bank_MD = problem.features(model, samples), problem.features(model, bank)
        if self.unit_length:
            query_ND, bank_MD = F.normalize(query_ND), F.normalize(bank_MD)
        value_N = query_ND.new_empty(len(samples))
        for label in torch.unique(samples.labels):
            of_class_MD = bank_MD[bank.labels == label]
            for position_N in (samples.labels == label).nonzero().squeeze(1).split(CHUNK):
                # not by matrix product: that loses the digits of small distances
                distance_NM = torch.cdist(
                    query_ND[position_N],
                    of_class_MD,
                    compute_mode="donot_use_mm_for_euclid_dist",
                )
                nearest = distance_NM.topk(min(self.neighbours, len(of_class_MD)), largest=False)
                value_N[position_N] = nearest.values.mean(1)
        return value_N


def curriculum(problem: Problem, young: nn.Module, samples: Samples) -> Tensor:
    """CF: loss under a network that was trained for only an epoch or two; log(1 + loss)."""
    logits_NK = problem.logits(young, samples)
    return F.cross_entropy(logits_NK, samples.labels, reduction="none").log1p()


def margin(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """The logit of the truth less the largest other, (N,): above zero where the model is right."""
    truth_NK = F.one_hot(labels_N, logits_NK.shape[1]).bool()
    return logits_NK[truth_NK] - logits_NK.masked_fill(truth_NK, -torch.inf).amax(1)


LOOKS = Looks()
