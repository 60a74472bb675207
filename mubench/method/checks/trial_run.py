"""Trial runs of a method on a problem small enough for a unit test.

Each run is made once, and its side effects are recorded. mubench/method/checks/checks.py judges the
results. The problem is difficult on purpose:

- A fifth of the labels are wrong. So the original errs on held-out images, as on real data.
- The network ends in batch norm over a single pixel, which cannot be trained on one image.

A method that declares `shards` gets an ensemble of such networks.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mubench.method.access import GOLD_LABELS, GOLD_PROBABILITIES, SHARDS, UPDATE_LOG
from mubench.method.meter import Meter
from mubench.method.problem import Method, MethodInputs, Problem
from mubench.method.source import source_files
from mubench.task import data
from mubench.task.data import Samples
from mubench.task.sources import SYNTHETIC_CLASSES
from mubench.task.spec import DataSpec, ModelSpec, TrainSpec
from mubench.training import ensemble, loop
from mubench.training.loop import EpochLog, Pipeline
from mubench.training.networks import Architecture
from mubench.training.updates import fit_logged

from .side_effects import SideEffects, watched, where

CPU = torch.device("cpu")
DATA = DataSpec(name="synthetic", kind="synthetic", image_size=4, mean=(0.5,) * 3, std=(0.25,) * 3)
MODEL = ModelSpec(name="allcnn", width=16)
NUM_SHARDS = 3
RECIPE = TrainSpec(
    epochs=6, batch_size=32, optimizer="sgd", lr=0.05, weight_decay=5e-4, schedule="one-cycle"
)
PIPELINE = Pipeline(DATA, RECIPE, CPU)


NUM_CLASSES = len(SYNTHETIC_CLASSES)


NUM_TRAIN = 7 * 32 + 2  # so that D_f and D_r can both have one sample more than whole batches

CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "some": lambda labels: (labels == 0).nonzero().squeeze(1)[:20],
    "one": lambda labels: (labels == 0).nonzero().squeeze(1)[:1],
    "class": lambda labels: (labels == 0).nonzero().squeeze(1),
    "ragged": lambda labels: torch.arange(2 * 32 + 1),
}
"""Name of a case to the function that gives the positions of D_f in D, from the labels of D. In
`ragged`, D_f has samples of all classes, and batches of 32 leave one sample over in D_f and D_r."""


@dataclass(frozen=True)
class Stage:
    """The data and the original model of all trial runs. Each run gets copies."""

    architecture: Architecture
    train: Samples  # D
    holdout: Samples
    original: nn.Module  # trained on `train`
    log: tuple[EpochLog, ...]  # one line per epoch of the original's training


@cache
def stage(shards: int | None = None) -> Stage:
    """The data and the original of trial runs, made once per process.

    Args:
        shards: of an original that is an ensemble. None: it is one network.
    """
    model = MODEL.model_copy(update={"shards": shards})
    architecture = Architecture(model, NUM_CLASSES, channels=3, image_size=DATA.image_size)
    dataset = data.load(DATA)
    holdout, _ = data.split_held_out(dataset, DATA)
    train = _mislabelled(dataset.train[:NUM_TRAIN])
    original = architecture.fresh(0)
    with loop.threads(1):  # tensors this small are slower on more threads
        log = ensemble.fit(original, train, RECIPE, PIPELINE, seed=0)
    return Stage(architecture, train, _mislabelled(holdout), original, log)


@cache
def _update_log(case: str) -> dict[str, Tensor]:
    """The log of the updates of the original's steps that met D_f of a case."""
    train = stage().train
    is_forget_N = torch.zeros(len(train), dtype=torch.bool)
    is_forget_N[CASES[case](train.labels)] = True
    original = stage().architecture.fresh(0)
    with loop.threads(1):
        (updates,) = fit_logged(original, train, is_forget_N[None], RECIPE, PIPELINE, seed=0)
    return updates.sums


def _mislabelled(samples: Samples) -> Samples:
    labels = samples.labels.clone()
    labels[::5] = (labels[::5] + 1) % NUM_CLASSES
    return Samples(samples.images, labels)


@dataclass(frozen=True)
class TrialResult:
    """The result of one trial run."""

    seen: SideEffects
    refused: list[str]  # sets that the method touched without declaring them
    edited: list[str]  # sets whose tensors the method changed
    error: str | None = None  # the exception of `unlearn`, with its place; None: there was none
    returned: object = None  # the value that `unlearn` returned
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # of a returned module, by name


class Trial:
    """The trial runs of one method with fixed parameters."""

    def __init__(self, method: Method):
        self.method = method
        self.stage = stage(NUM_SHARDS if SHARDS in method.requires else None)
        self._observed: dict[tuple[str, int, int], TrialResult] = {}

    def run(self, case: str = "some", seed: int = 0, repeat: int = 0) -> TrialResult:
        """Makes one run, or returns the result of an earlier run with the same arguments.

        Args:
            case: name in `CASES`.
            seed: seed of the problem.
            repeat: another number makes the same run again.
        """
        key = (case, seed, repeat)
        if key not in self._observed:
            self._observed[key] = _run(self.method, self.stage, case, seed)
        return self._observed[key]


def _run(method: Method, stage: Stage, case: str, seed: int) -> TrialResult:
    sets = _sets(stage, case)
    given = deepcopy(sets)
    access = {**given, "training_log": stage.log, SHARDS: stage.architecture.spec.shards}
    if UPDATE_LOG in method.requires:
        access[UPDATE_LOG] = deepcopy(_update_log(case))
    inputs = MethodInputs(
        original=stage.original.state_dict(),
        access={name: access[name] for name in method.requires},
        requires=method.requires,
        num_forget=len(given["forget"]),
        architecture=stage.architecture,
        data=DATA,
        recipe=RECIPE,
        seed=seed,
        device=CPU,
    )
    problem = Problem(inputs)
    files = frozenset(map(str, source_files(type(method))))
    returned: object = None
    error = None
    with loop.threads(1), loop.forked_rng(CPU), watched(files) as seen:
        torch.manual_seed(problem.seed_for("global"))  # as mubench/run/execute.py does
        try:
            returned = method.unlearn(problem)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # SystemExit too, which would end a whole sweep
            error = where(raised, files)
    weights = {}
    if isinstance(returned, nn.Module):
        Meter.unwatch(returned)
        weights = {name: value.detach().clone() for name, value in returned.state_dict().items()}
    edited = [name for name, value in sets.items() if not _equal(value, given[name])]
    return TrialResult(seen, problem.refused, edited, error, returned, weights)


def _sets(stage: Stage, case: str) -> dict[str, Any]:
    train = stage.train
    forget, retain = data.split(train, CASES[case](train.labels))
    return {
        "forget": forget,
        "retain": retain,
        "holdout": stage.holdout,
        GOLD_LABELS: torch.arange(len(forget)) % 4 > 0,
        GOLD_PROBABILITIES: torch.eye(NUM_CLASSES)[forget.labels],
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Samples):
        return _equal(one.images, other.images) and _equal(one.labels, other.labels)
    return torch.equal(one, other)
