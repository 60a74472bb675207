"""Talking with an isolated process: its clock, and bounds on what comes out."""

import pytest

from mubench.run.isolation import host
from tests.helpers.methods import bad
from tests.helpers.processes import tokened


def test_a_hang_ends_at_the_limit(run, monkeypatch, capfd):
    monkeypatch.setattr(host, "LEAST_LIMIT_SECONDS", 2)
    monkeypatch.setattr(host, "RETRAINS", 0)
    monkeypatch.setattr(host, "BUDGETS", 0)
    servers = tokened()
    record = run(bad("hangs")).record
    assert record.status == "timeout"
    assert record.error == "stopped after 2 s"
    assert record.cost.seconds >= 2
    assert tokened() <= servers
    assert "still thinking" in capfd.readouterr().err


def test_the_clock_cannot_be_stopped_early(run, tmp_path):
    source = tmp_path / "forger.py"
    source.write_text(
        """
import gc, time
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Forger:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    def unlearn(self, problem):
        (caller,) = [x for x in gc.get_objects() if type(x).__name__ == "_Caller"]
        caller.say("done")
        time.sleep(1)
        return problem.original
"""
    )
    record = run(f"{source}:Forger").record
    assert record.status == "error"
    assert "unreadable" in record.error


@pytest.mark.parametrize(
    ("body", "error", "printed"),
    [
        ("problem.original.extra = nn.Parameter(torch.zeros(10**6))", "returned far more", ""),
        ("problem.original.to(torch.complex64)", "complex", ""),
        ("sys.stdout.write('x' * 10**6 + 'the end')", None, "the end"),
        ("os.write(2, b'to the descriptor')", None, "to the descriptor"),
    ],
)
def test_what_comes_out_has_bounds(run, tmp_path, capfd, body, error, printed):
    source = tmp_path / "mine.py"
    source.write_text(
        f"""
import os, sys, torch
from torch import nn
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Mine:
    requires: ClassVar[frozenset[str]] = frozenset({{"forget"}})
    def unlearn(self, problem):
        {body}
        return problem.original
"""
    )
    record = run(f"{source}:Mine").record
    assert (record.error is None) if error is None else (error in record.error)
    seen = capfd.readouterr().err
    of_method = [line for line in seen.splitlines() if not line.startswith("mubench: ")]
    assert "\n".join(of_method).rstrip().endswith(printed)
    assert len(seen) < 200_000
