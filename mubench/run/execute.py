"""One attempt at unlearning: what a method is given, and what running it leaves.

The same code runs a method in this process and in one of its own (`isolate`), so that the numbers
are the same. Nothing here knows a gold or a scored sample.
"""

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mubench.method.problem import Meter, Method, Problem
from mubench.record.schema import Status
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, ModelSpec, TrainSpec
from mubench.training import loop, networks
from mubench.training.loop import Pipeline

Tensors = dict[str, Tensor]


class BadModelError(RuntimeError):
    """What a method returned is not the original's architecture with finite weights."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that a `Problem` is made of."""

    original: Mapping[str, Tensor]
    """The original's weights."""
    access: Mapping[str, Any]
    """What the method declared, by name, and nothing else: sets, log, labels."""
    requires: frozenset[str]
    num_forget: int
    num_classes: int
    channels: int
    data: DataSpec
    model: ModelSpec
    recipe: TrainSpec
    seed: int
    device: torch.device

    def fresh(self, seed: int) -> nn.Module:
        """A newly initialised network on the device."""
        return networks.build(
            self.model,
            num_classes=self.num_classes,
            channels=self.channels,
            image_size=self.data.image_size,
            seed=seed,
        ).to(self.device)

    def problem(self, meter: Meter) -> Problem:
        """The problem, with a private copy of the original; `meter` counts what passes through."""
        original = self.fresh(0)
        original.load_state_dict(dict(self.original))
        # A Problem takes the size of D_f from D_f, which a method that does not declare it lacks.
        length_only = Samples(torch.empty(self.num_forget, 0), torch.empty(self.num_forget))
        return Problem(
            original=original.to(memory_format=torch.channels_last).eval(),
            fresh=self.fresh,
            access={"forget": length_only, **self.access},
            requires=self.requires,
            num_classes=self.num_classes,
            recipe=self.recipe,
            pipeline=Pipeline(self.data, self.recipe, self.device),
            seed=self.seed,
            meter=meter,
        )


@dataclass(eq=False)
class Outcome:
    """What an attempt left."""

    status: Status
    error: str | None = None
    """For another status than `ok`: what happened, in a line."""
    trace: str = ""
    """The traceback of a method that raised."""
    weights: Tensors | None = None
    """Of the returned model, unchecked."""
    reports: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    forward_samples: int = 0
    backward_samples: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    printed: str = ""
    flags: tuple[str, ...] = ()


def attempt(method: Method, problem: Problem, meter: Meter) -> Outcome:
    """Runs `unlearn()` under the clock, whatever becomes of it; the peak memory is left out."""
    device = problem.device
    outcome = Outcome("ok")
    loop.synchronise(device)
    started = time.perf_counter()
    try:
        with loop.forked_rng(device):
            torch.manual_seed(problem.seed_for("global"))
            returned = method.unlearn(problem)
        loop.synchronise(device)
        outcome.seconds = time.perf_counter() - started
        outcome.weights = _weights(returned)
    except (Exception, SystemExit) as raised:
        outcome.seconds = outcome.seconds or time.perf_counter() - started
        outcome.status = "diverged" if isinstance(raised, loop.Diverged) else "error"
        outcome.error = describe_error(raised)
        outcome.trace = traceback.format_exc()
    outcome.reports = problem.reports
    outcome.forward_samples = meter.forward_samples
    outcome.backward_samples = meter.backward_samples
    return outcome


def _weights(returned: object) -> Tensors:
    if not isinstance(returned, nn.Module):
        raise BadModelError(f"unlearn() returned {type(returned).__name__}, not an nn.Module")
    return dict(returned.state_dict())


def describe_error(raised: BaseException) -> str:
    """An exception in one line, which says so where memory ran out."""
    first_line = f"{type(raised).__name__}: {raised}".partition("\n")[0]
    is_memory = isinstance(raised, MemoryError | torch.cuda.OutOfMemoryError)
    # What torch raises when the CPU has no memory left is a plain RuntimeError.
    if is_memory or "can't allocate memory" in str(raised):
        return f"out of memory: {first_line}"
    return first_line
