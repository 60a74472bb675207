"""Methods whose best parameter is known, and searches without any model."""

from mubench.method.parameters import Search
from mubench.tune.space import Searched
from mubench.tune.trials import Score

NOISY = '''
"""A method that spoils the original: the less, the better."""
import os
from dataclasses import dataclass
from typing import Annotated, ClassVar
import torch
from annotated_types import Ge
from mubench import Search

@dataclass(frozen=True, kw_only=True)
class Extra:
    rounds: Annotated[int, Ge(1), Search(1, 3)] = 3  # how often

@dataclass(frozen=True, kw_only=True)
class Noisy:
    """Adds noise to the weights."""
    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "holdout"})
    presets: ClassVar = {"paper": {"noise": 0.2}}
    noise: Annotated[float, Ge(0), Search(1e-4, 0.5, log=True)] = 0.5  # size of the noise
    extra: Extra = Extra()
    fixed: int = 1  # not searched

    def unlearn(self, problem):
        assert len(problem.forget) and len(problem.retain) and len(problem.holdout)
        if os.environ.get("DIES_AT_NOISE_BELOW", "") > f"{self.noise:.6f}":
            os.kill(os.getpid(), 9)
        problem.logits(problem.original, problem.forget)
        with torch.no_grad():
            for weights in problem.original.parameters():
                for _ in range(self.extra.rounds):
                    weights += self.noise * torch.randn_like(weights)
        return problem.original
'''

LR = Searched("lr", Search(0.0, 1.0), is_integer=False, default=1.0)


def score(value=0.0, status="ok", **changes):
    known = {"error": None, "epochs_equivalent": 1.0, "retrain_share": 0.1} | changes
    return Score(status, margin_distance=value, **known)


def squared(settings, _number, default=1.0):
    """The job of settings whose best value of `lr` is .3."""
    lr = settings.get("lr", default)
    return lambda: score((lr - 0.3) ** 2)
