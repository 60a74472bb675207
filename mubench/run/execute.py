"""Running `unlearn()` under the clock, whatever becomes of it.

The same code runs a method in this process and in a process of its own (`mubench.run.isolation`),
so that the numbers are the same. Nothing here knows a gold or a scored sample.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mubench._util.messages import error_line
from mubench.method.meter import Meter
from mubench.method.problem import Method, Problem
from mubench.record.schema import Isolation, Status, Usage
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
    isolation: Isolation | None = None
    """What walled the method in; None in the harness's own process."""


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
    memory = peak_memory_bytes(problem.device)
    if not reading.is_intact:
        outcome.status, outcome.weights = "error", None
        outcome.error = "the method took the meter out"
    try:
        outcome.reports = dict(problem.reports)
        outcome.usage = Usage(
            seconds=seconds,
            forward_samples=reading.samples.forward,
            backward_samples=reading.samples.backward,
            peak_memory_bytes=memory,
            operations=reading.operations,
            unseen_forward_samples=reading.unseen.forward,
            unseen_backward_samples=reading.unseen.backward,
            parts=dict(problem.parts) or None,
        )
    except Exception:  # such as a negative count
        outcome = MethodOutcome("error", "the method changed what the harness counts with")
        outcome.usage = Usage(peak_memory_bytes=memory)
    return outcome


def _unlearn(method: Method, problem: Problem) -> tuple[MethodOutcome, float]:
    """Runs `unlearn()`; returns what it left, and its seconds."""
    device = problem.device
    outcome = MethodOutcome("ok")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    loop.synchronise(device)
    seconds = 0.0
    started = perf_counter()
    with _noticed_interrupts() as was_interrupted:
        try:
            with loop.forked_rng(device):
                torch.manual_seed(problem.seed_for("global"))
                returned = method.unlearn(problem)
            loop.synchronise(device)
            seconds = perf_counter() - started
            outcome.weights = _weights(returned)
        except BaseException as raised:
            if isinstance(raised, KeyboardInterrupt) and was_interrupted():
                raise
            seconds = seconds or perf_counter() - started
            outcome.status = "diverged" if isinstance(raised, loop.Diverged) else "error"
            outcome.error = describe_error(raised)
            outcome.trace = traceback.format_exc()
    return outcome, seconds


@contextmanager
def _noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Tells whether the user pressed Ctrl-C, as a method can raise `KeyboardInterrupt` itself."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # so nobody can have pressed it
        yield lambda: False
        return
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: True  # nothing can be told, so the user is believed
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


def _weights(returned: object) -> Tensors:
    if not isinstance(returned, nn.Module):
        raise BadModelError(f"unlearn() returned {type(returned).__name__}, not an nn.Module")
    return dict(returned.state_dict())


def describe_error(raised: BaseException) -> str:
    """An exception in one line, which says so if memory ran out."""
    first_line = error_line(raised)
    is_memory = isinstance(raised, MemoryError | torch.cuda.OutOfMemoryError)
    # Because torch raises a plain RuntimeError when the CPU has no memory left, the text tells.
    if is_memory or "can't allocate memory" in first_line:
        return f"out of memory: {first_line}"
    return first_line
