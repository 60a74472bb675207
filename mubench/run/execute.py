"""Running `unlearn()` under the clock, whatever becomes of it.

The same code runs a method in this process and in a process of its own (`mubench.run.isolation`),
so that the numbers are the same. Nothing here knows a gold or a scored sample.
"""

import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mubench.method.meter import Meter
from mubench.method.problem import Method, Problem
from mubench.record.schema import Status, Usage
from mubench.training import loop

from .machine import peak_memory_bytes

Tensors = dict[str, Tensor]


class BadModelError(RuntimeError):
    """What a method returned is not the original's architecture with finite weights."""


@dataclass(eq=False)
class MethodOutcome:
    """What a run of a method left."""

    status: Status
    """`ok`, or how the run failed."""
    error: str | None = None
    """What happened, in a line, for a status other than `ok`."""
    trace: str = ""
    """The traceback of a method that raised."""
    weights: Tensors | None = None
    """The returned model's parameters and buffers, unchecked."""
    reports: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """What the method reported about each sample of D_f, by name, each (N,)."""
    usage: Usage = field(default_factory=Usage)
    """Seconds, samples and bytes that the run used."""
    printed: str = ""
    """What the method wrote to stdout and stderr."""
    flags: tuple[str, ...] = ()
    """Flags that only who ran the method can tell."""


def execute(method: Method, problem: Problem, meter: Meter) -> MethodOutcome:
    """Runs `unlearn()` under the clock; a method that raises has a status that says so.

    Args:
        method: an instance with its parameters.
        problem: what the method sees.
        meter: the meter that the problem counts with.

    Returns:
        The outcome. On the CPU its peak memory is of this whole process since that began.
    """
    with meter.running() as reading:
        outcome, seconds = _unlearn(method, problem)
    if not reading.is_intact:
        outcome.status, outcome.weights = "error", None
        outcome.error = "the method took the meter out"
    outcome.reports = problem.reports
    outcome.usage = Usage(
        seconds=seconds,
        forward_samples=reading.samples.forward,
        backward_samples=reading.samples.backward,
        peak_memory_bytes=peak_memory_bytes(problem.device),
        operations=reading.operations,
        unseen_forward_samples=reading.unseen.forward,
        unseen_backward_samples=reading.unseen.backward,
    )
    return outcome


def _unlearn(method: Method, problem: Problem) -> tuple[MethodOutcome, float]:
    """Runs `unlearn()`; returns what it left, and its seconds."""
    device = problem.device
    outcome = MethodOutcome("ok")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    loop.synchronise(device)
    seconds = 0.0
    started = time.perf_counter()
    try:
        with loop.forked_rng(device):
            torch.manual_seed(problem.seed_for("global"))
            returned = method.unlearn(problem)
        loop.synchronise(device)
        seconds = time.perf_counter() - started
        outcome.weights = _weights(returned)
    except (Exception, SystemExit) as raised:
        seconds = seconds or time.perf_counter() - started
        outcome.status = "diverged" if isinstance(raised, loop.Diverged) else "error"
        outcome.error = describe_error(raised)
        outcome.trace = traceback.format_exc()
    return outcome, seconds


def _weights(returned: object) -> Tensors:
    if not isinstance(returned, nn.Module):
        raise BadModelError(f"unlearn() returned {type(returned).__name__}, not an nn.Module")
    return dict(returned.state_dict())


def describe_error(raised: BaseException) -> str:
    """An exception in one line, which says so if memory ran out."""
    first_line = f"{type(raised).__name__}: {raised}".partition("\n")[0]
    is_memory = isinstance(raised, MemoryError | torch.cuda.OutOfMemoryError)
    # Because torch raises a plain RuntimeError when the CPU has no memory left, the text tells.
    if is_memory or "can't allocate memory" in str(raised):
        return f"out of memory: {first_line}"
    return first_line
