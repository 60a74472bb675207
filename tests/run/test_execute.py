"""Executing a method: what it is given, its clock, its errors."""

from contextlib import nullcontext
from typing import ClassVar

import pytest
import torch

from mubench.method.meter import Meter
from mubench.method.problem import AccessError, Problem
from mubench.run import execute as execution
from mubench.run.execute import describe_error, execute
from mubench.training import loop
from tests.helpers.gpus import GPU, FakeGpu
from tests.helpers.problems import make_inputs, make_problem


def test_the_clock_waits_for_the_device(monkeypatch, run):
    """On a device that works on its own, the clock is read only when its queue is empty."""
    waits = []
    monkeypatch.setattr(loop, "synchronise", lambda device: waits.append(device))
    during = []

    def note(problem):
        during.append(len(waits))
        return problem.original

    run(note)
    assert during[0] >= 1
    assert len(waits) > during[0]


def test_a_problem_has_a_private_original_and_what_was_declared(tiny):
    inputs = make_inputs(tiny, "retain")
    kept = {name: value.clone() for name, value in inputs.original.items()}
    problem = Problem(inputs, Meter())
    assert not problem.original.training
    with torch.no_grad():
        for parameter in problem.original.parameters():
            parameter.zero_()
    assert all(torch.equal(inputs.original[name], value) for name, value in kept.items())
    assert len(problem.retain) == 234
    with pytest.raises(AccessError):
        _ = problem.forget


def test_an_attempt_leaves_the_callers_randomness_alone_and_has_its_own(tiny):
    drawn = []

    class Draws:
        def unlearn(self, problem):
            drawn.append(torch.rand(3).tolist())
            return problem.original

    def run_with(seed):
        torch.manual_seed(seed)
        meter = Meter()
        problem = make_problem(tiny, "retain", meter=meter)
        assert execute(Draws(), problem, meter).status == "ok"
        return torch.rand(3).tolist()

    expected = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected.append(torch.rand(3).tolist())
    assert [run_with(seed) for seed in (1, 2)] == expected
    assert drawn[0] == drawn[1]


def test_an_attempt_that_raises_keeps_what_it_cost(tiny):
    class Raises:
        def unlearn(self, problem):
            problem.original(torch.zeros(7, 3, 8, 8))
            raise SystemExit("enough")

    meter = Meter()
    outcome = execute(Raises(), make_problem(tiny, "retain", meter=meter), meter)
    assert (outcome.status, outcome.error) == ("error", "SystemExit: enough")
    assert "in unlearn" in outcome.trace
    assert outcome.weights is None
    assert outcome.usage.forward_samples == 7
    assert outcome.usage.seconds > 0
    assert outcome.usage.peak_memory_bytes > 50e6


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (MemoryError("no room"), "out of memory: MemoryError: no room"),
        (RuntimeError("can't allocate memory: 9"), "out of memory: RuntimeError: can't allocate"),
    ],
)
def test_an_error_is_a_line_that_says_where_memory_ran_out(raised, expected):
    assert describe_error(raised).startswith(expected)
    assert "\n" not in describe_error(raised)


def test_a_method_that_takes_the_meter_out_is_an_error(tiny, monkeypatch):
    made = []
    library = torch.library.Library
    monkeypatch.setattr(
        torch.library, "Library", lambda *args: made.append(library(*args)) or made[-1]
    )

    class Removes:
        def unlearn(self, problem):
            made[-1]._destroy()
            return problem.original

    meter = Meter()
    outcome = execute(Removes(), make_problem(tiny, "retain", meter=meter), meter)
    assert (outcome.status, outcome.error) == ("error", "the method took the meter out")
    assert outcome.weights is None


class GpuProblem:
    """What `execute` needs of a problem, on a GPU."""

    device = GPU
    reports: ClassVar = {}
    parts: ClassVar = {}

    def seed_for(self, purpose):
        return 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_asked_of_a_gpu_and_when(monkeypatch, tiny, fails):
    """The peak starts anew and the queue is empty before the clock starts, and before it stops."""
    meter = Meter()
    meter.watch(tiny.fresh(0))
    gpu = FakeGpu(monkeypatch)
    monkeypatch.setattr(loop, "forked_rng", nullcontext)
    monkeypatch.setattr(execution, "perf_counter", lambda: gpu.calls.append("clock") or 1.0)

    class Mine:
        def unlearn(self, problem):
            gpu.calls.append("unlearn")
            if fails:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return torch.nn.Linear(1, 1)

    outcome = execute(Mine(), GpuProblem(), meter)
    before = ["reset_peak_memory_stats", "synchronize", "clock", "unlearn"]
    after = ["clock"] if fails else ["synchronize", "clock"]
    assert gpu.calls == [*before, *after, "max_memory_allocated"]
    assert outcome.usage.peak_memory_bytes == 123
    assert outcome.error == (
        "out of memory: OutOfMemoryError: CUDA out of memory" if fails else None
    )
