"""What Linux walls a process in with: hidden folders, memory, descendants."""

import subprocess
import sys
from pathlib import Path

import pytest

from mubench.run.isolation import linux
from tests.helpers.methods import bad
from tests.helpers.processes import ON_LINUX


def test_cache_and_results_are_not_in_the_file_system(run, isolation, tiny_store, results):
    run("original")  # so that there are results
    if isolation.visible:
        pytest.skip(isolation.visible)
    assert any(tiny_store.root.rglob("*.safetensors"))
    assert any(results.rglob("*.npz"))
    places = [str(tiny_store.root), str(results)]
    assert run(bad("looks_for_golds"), places=places).record.error is None


def test_what_hides_the_cache_cannot_be_taken_away(run, isolation, tiny_store, tmp_path):
    if isolation.visible:
        pytest.skip(isolation.visible)
    source = tmp_path / "digger.py"
    source.write_text(
        f"""
import ctypes, os
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Digger:
    requires: ClassVar[frozenset[str]] = frozenset({{"forget"}})
    def unlearn(self, problem):
        libc = ctypes.CDLL(None)
        place = {str(tiny_store.root)!r}
        for attempt in range(2):
            assert libc.umount2(place.encode(), 2) != 0
            assert not os.path.exists(place) or os.listdir(place) == []
            libc.unshare(0x10020000)
        return problem.original
"""
    )
    record = run(f"{source}:Digger").record
    assert record.error is None


on_linux = pytest.mark.skipif(not ON_LINUX, reason="of Linux alone")


@on_linux
def test_a_process_has_no_more_memory_than_it_is_let():
    code = """
from mubench.run.isolation import linux
linux.limit_memory(300_000_000)
small = bytearray(100_000_000)
try:
    bytearray(400_000_000)
except MemoryError:
    print("no more")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "no more\n", done.stderr


@on_linux
def test_what_stems_from_a_process_dies_and_nothing_else(tmp_path):
    """Of a child in a session of its own, too, and of its child."""
    code = """
import os, subprocess, sys
from mubench.run.isolation import linux
linux.adopt_orphans()
script = "sleep 60 & echo $!; exec setsid sleep 60"
child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
grandchild = int(child.stdout.readline())
assert {child.pid, grandchild} <= set(linux._descendants(os.getpid()))
linux.kill_descendants()
assert child.wait() == -9
os.waitpid(grandchild, 0)
print("alone")
"""
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.stdout == "alone\n", done.stderr
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_control_group_may_have_less_memory_than_the_machine(monkeypatch):
    def machine_with(text):
        monkeypatch.setattr(Path, "read_text", lambda path: text)
        return linux.physical_memory_bytes()

    total = machine_with("max")
    assert total > 10**8
    assert machine_with("12345") == 12345
    assert machine_with(str(2 * total)) == total
