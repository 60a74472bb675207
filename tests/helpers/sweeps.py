"""Sweeps as processes: started, killed, and what they left."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mubench.record.folder import read_record
from tests.helpers.processes import command_of, of_session, tokened

KILLS = int(os.environ.get("MUBENCH_TEST_KILLS", "4"))
"""How often a test kills sweeps, or nodes. Fifty take half an hour each."""

ENDING_SECONDS = 60
"""Most seconds for the processes of a killed sweep to end, on a busy machine."""

RAY_AGENTS = re.compile(r"ray::(Dashboard|RuntimeEnv)Agent|ray/\S*agent\S*\.py")
"""Ray's own helpers, which try for a minute to tell their cluster's head that a node died."""

AGENT_SECONDS = 120
"""Most seconds for Ray's helpers to end."""

RAY = ("--engine", "ray", "--workers", "2")


def start(folder: Path, cache: Path, *options: str, token: str = "") -> subprocess.Popen:
    """Starts the sweep of a folder's `grid.toml`, with a cache of its own."""
    environment = os.environ | {"MUBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    if token:
        environment[token] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "mubench", "sweep", "grid.toml", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """Waits for a sweep; returns what it printed on stdout and on stderr."""
    with process:
        return process.communicate(timeout=3600)


def succeed(folder: Path, cache: Path, *options: str) -> str:
    """Lets a sweep end, which must succeed; returns what it printed on stdout."""
    process = start(folder, cache, *options)
    out, err = finish(process)
    assert process.returncode == 0, out + err
    return out


def outliving(process: subprocess.Popen, token: str, *, agents: bool = False) -> dict[int, str]:
    """Waits for all that stems from a sweep to end; what does not, with its command lines.

    Args:
        process: the sweep, which has a session of its own.
        token: a variable of the sweep's environment. A process may have left the session, or have
            written over its environment, but none does both.
        agents: True to wait for Ray's helpers too.
    """
    deadline = time.monotonic() + (AGENT_SECONDS if agents else ENDING_SECONDS)
    while True:
        left = {pid: command_of(pid) for pid in of_session(process.pid) | tokened(token)}
        if not agents:
            left = {pid: name for pid, name in left.items() if not RAY_AGENTS.search(name)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def measured(results: Path) -> dict[str, object]:
    """What a sweep left, but for times, memory and dates."""
    left: dict[str, object] = {}
    for path in sorted(results.rglob("[!.]*")):
        if path.suffix == ".json":
            record = read_record(path)
            cost = record.cost.model_dump(include={"forward_samples", "backward_samples"})
            content = record.model_dump(exclude={"cost", "started_at", "git_revision"})
            left[str(path.relative_to(results))] = content | {"cost": cost}
        elif path.is_file():
            left[str(path.relative_to(results))] = path.read_bytes()
    return left
