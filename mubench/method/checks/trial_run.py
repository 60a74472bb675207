"""Runs of a method on a problem small enough for a unit test, each made once and watched.

`checks` judges what is seen here. The problem is made to bite: a fifth of the labels are wrong, so
that the original errs on held-out images as it would on real ones, and the network ends in batch
norm over a single pixel, which cannot be trained on a batch of one image.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mubench.method.access import GOLD_LABELS
from mubench.method.problem import Meter, Method, Problem
from mubench.method.source import source_files
from mubench.task import data
from mubench.task.data import Samples
from mubench.task.sources import SYNTHETIC_CLASSES
from mubench.task.spec import DataSpec, ModelSpec, TrainSpec
from mubench.training import loop, networks
from mubench.training.loop import EpochLog, Pipeline

from .side_effects import Seen, watched, where

CPU = torch.device("cpu")
DATA = DataSpec(name="synthetic", kind="synthetic", image_size=4, mean=(0.5,) * 3, std=(0.25,) * 3)
MODEL = ModelSpec(name="allcnn", width=16)
RECIPE = TrainSpec(
    epochs=6, batch_size=32, optimizer="sgd", lr=0.05, weight_decay=5e-4, schedule="one-cycle"
)
PIPELINE = Pipeline(DATA, RECIPE, CPU)


NUM_CLASSES = len(SYNTHETIC_CLASSES)


NUM_TRAIN = 7 * 32 + 2  # so that D_f and D_r can both be one more than whole batches

CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "some": lambda labels: (labels == 0).nonzero().squeeze(1)[:20],
    "one": lambda labels: (labels == 0).nonzero().squeeze(1)[:1],
    "class": lambda labels: (labels == 0).nonzero().squeeze(1),
    "ragged": lambda labels: torch.arange(2 * 32 + 1),
}
"""Name to positions of D_f, from the labels of D. `ragged` is of all classes and leaves one sample
over after whole batches of 32, in D_f as in D_r."""


@dataclass(frozen=True)
class Stage:
    """What all runs share; they get copies."""

    train: Samples
    holdout: Samples
    original: nn.Module
    log: tuple[EpochLog, ...]


@cache
def stage() -> Stage:
    """Built once a process."""
    dataset = data.load(DATA)
    holdout, _ = data.split_held_out(dataset, DATA)
    train = _mislabelled(dataset.train[:NUM_TRAIN])
    original = fresh(0)
    with loop.threads(1):  # tensors of this size are slower on two
        log = loop.fit(original, train, RECIPE, PIPELINE, seed=0)
    return Stage(train, _mislabelled(holdout), original, log)


def fresh(seed: int) -> nn.Module:
    """A new network of the original's architecture."""
    size = DATA.image_size
    return networks.build(MODEL, num_classes=NUM_CLASSES, channels=3, image_size=size, seed=seed)


def _mislabelled(samples: Samples) -> Samples:
    labels = samples.labels.clone()
    labels[::5] = (labels[::5] + 1) % NUM_CLASSES
    return Samples(samples.images, labels)


@dataclass(frozen=True)
class Observed:
    """What became of a run."""

    seen: Seen
    refused: list[str]  # sets that it touched undeclared
    edited: list[str]  # sets whose tensors it changed
    error: str | None = None  # what it raised, and where
    returned: object = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # if it returned a module


class Trial:
    """The runs of one method with its parameters."""

    def __init__(self, method: Method):
        self.method = method
        self._observed: dict[tuple[str, int, int], Observed] = {}

    def run(self, case: str = "some", seed: int = 0, repeat: int = 0) -> Observed:
        """One run; another `repeat` is the same run once more."""
        key = (case, seed, repeat)
        if key not in self._observed:
            self._observed[key] = _run(self.method, case, seed)
        return self._observed[key]


class _NotingProblem(Problem):
    """Notes what a method touches undeclared, even if the method swallows the error."""

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.refused: list[str] = []

    def _get(self, name: str) -> Any:
        if name not in self._access:
            self.refused.append(name)
        return super()._get(name)


def _run(method: Method, case: str, seed: int) -> Observed:
    sets = _sets(case)
    given = deepcopy(sets)
    problem = _NotingProblem(
        original=deepcopy(stage().original),
        fresh=fresh,
        access={**given, "training_log": stage().log},
        requires=method.requires,
        num_classes=NUM_CLASSES,
        recipe=RECIPE,
        pipeline=PIPELINE,
        seed=seed,
    )
    files = frozenset(map(str, source_files(type(method))))
    returned: object = None
    error = None
    with loop.threads(1), loop.forked_rng(CPU), watched(files) as seen:
        torch.manual_seed(problem.seed_for("global"))  # as the runner does
        try:
            returned = method.unlearn(problem)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # SystemExit too: it would end a whole sweep
            error = where(raised, files)
    weights = {}
    if isinstance(returned, nn.Module):
        Meter.unwatch(returned)
        weights = {name: value.detach().clone() for name, value in returned.state_dict().items()}
    edited = [name for name, value in sets.items() if not _equal(value, given[name])]
    return Observed(seen, problem.refused, edited, error, returned, weights)


def _sets(case: str) -> dict[str, Any]:
    train = stage().train
    forget = CASES[case](train.labels)
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[forget] = False
    return {
        "forget": train[forget],
        "retain": train[kept],
        "holdout": stage().holdout,
        GOLD_LABELS: torch.arange(len(forget)) % 4 > 0,
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Samples):
        return _equal(one.images, other.images) and _equal(one.labels, other.labels)
    return torch.equal(one, other)
