"""The process that forks: memory of each run, and nothing outlives one."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from mubench.run.isolation import host
from mubench.run.isolation.host import Isolation
from tests.helpers.hostile import HOSTILE, MARK
from tests.helpers.methods import bad
from tests.helpers.packages import succeed
from tests.helpers.processes import ON_LINUX, TOKEN, tokened


def test_the_peak_memory_is_the_methods_own(run, tmp_path):
    source = tmp_path / "large.py"
    source.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
import torch
@dataclass(frozen=True, kw_only=True)
class Large:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    def unlearn(self, problem):
        torch.ones(2**28)
        return problem.original
"""
    )
    small = run("original").record.cost.peak_memory_bytes
    large = run(f"{source}:Large").record.cost.peak_memory_bytes
    assert 0.9 * 2**30 < large - small < 1.2 * 2**30


def test_what_builds_networks_is_there_before_the_clock_starts(run, tmp_path):
    source = tmp_path / "looks.py"
    source.write_text(
        """
import sys
before = set(sys.modules)
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Looks:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    def unlearn(self, problem):
        new = sys.modules.keys() - before - {__name__}
        raise RuntimeError(f"timm: {'timm' in before}, new: {sorted(new)}")
"""
    )
    assert run(f"{source}:Looks").record.error == "RuntimeError: timm: True, new: []"


@pytest.mark.slow
@pytest.mark.skipif(not ON_LINUX, reason="elsewhere only process groups are swept")
def test_without_namespaces_processes_are_walled_in_all_the_same(
    library, results, monkeypatch, tmp_path
):
    monkeypatch.setenv(TOKEN, "1")
    shared = tmp_path / "shared"
    shared.mkdir()
    plant = f"""
from mubench.run.isolation import leftovers, linux
linux.enter_namespaces = lambda: "on purpose"
leftovers.SHARED_FOLDERS = [{str(shared)!r}]
"""
    monkeypatch.setattr(host, "BOOT", host.BOOT.replace("serve(", f"{plant}\nserve("))
    others = tokened()
    with Isolation([library.store.root, results], memory_bytes=3_000_000_000) as isolation:
        for name, flags in (("forks", ("left-processes", "no-op")), ("crashes", ())):
            (method,) = isolation.describe(bad(name))
            servers = tokened() - others
            cell = Cell(library.loaded.cases[0], method, None, 0)
            folder = ResultsFolder(results)
            record = measure(library, cell, folder, again=True, isolation=isolation).record
            assert record.flags == flags
            assert tokened() - others <= servers
        assert isolation.visible == isolation.obstacle == "on purpose"
        (hostile,) = [one for one in HOSTILE if one.name == "leaves-for-the-next"]
        reference = hostile.write(tmp_path)
        source = Path(reference.partition(":")[0])
        lines = source.read_text().replace('"/tmp", "/var/tmp", "/dev/shm"', f'"{shared}",')
        source.write_text(lines.replace("libc.syscall(", "(lambda *_: 0)("))  # no keys
        (method,) = isolation.describe(reference)
        cell = Cell(library.loaded.cases[0], method, None, 0)
        try:
            record = measure(library, cell, folder, again=True, isolation=isolation).record
            assert record.flags == ("left-files", "no-op"), record.error
            assert record.isolation == "process"
            again = measure(library, cell, folder, again=True, isolation=isolation).record
            assert f"found {shared / MARK}" in again.error  # which DESIGN.md states
        finally:
            libc = ctypes.CDLL(None)
            libc.shmctl(libc.shmget(0x6D7562, 0, 0), 0, None)
        # A method that kills what isolates it harms nobody else either.
        isolation._process.kill()
        isolation._process.wait()
        (method,) = isolation.describe("original")
        assert method.name == "original"
    assert tokened() <= others


@pytest.mark.skipif(not ON_LINUX, reason="looks for processes in /proc")
@pytest.mark.slow
def test_nothing_outlives_a_caller_that_is_killed(tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        f"""
import sys
from mubench.method.presets import Choice
from mubench.run.isolation.host import Isolation
isolation = Isolation()
(method,) = isolation.describe({bad("hangs")!r})
child = isolation._child()
isolation._meet(child, method.reference, [Choice()])
print("up", flush=True)
child.hear(600)
"""
    )
    token = f"CALLER_OF_{TOKEN}"
    caller = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env=os.environ | {token: "1"},
    )
    with caller:
        try:
            assert caller.stdout
            assert caller.stdout.readline() == b"up\n"
            mine = tokened(token)
            assert len(mine) >= 3
        finally:
            caller.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in mine):
            break
        time.sleep(0.05)
    else:
        pytest.fail("something is still there")


def test_what_is_forked_has_not_touched_a_gpu(tmp_path):
    """A process that is forked after CUDA was looked at can never use a GPU."""
    script = """
import torch
for name in ("_cuda_getDeviceCount", "_cuda_init"):
    def touch(*_, name=name):
        raise AssertionError(f"{name} was called")
    setattr(torch._C, name, touch)
import mubench.run.isolation.fork_server, mubench.run.isolation.child
assert not torch.cuda.is_initialized()
print("untouched")
"""
    assert succeed(sys.executable, "-c", script, cwd=tmp_path) == "untouched\n"
