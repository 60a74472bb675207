"""Sweeps as processes: started, killed, and what they left."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mubench.record.folder import read_record
from tests.helpers.processes import tokened

KILLS = int(os.environ.get("MUBENCH_TEST_KILLS", "4"))
"""How often a test kills sweeps, or nodes. Fifty take half an hour each."""

RAY = ("--engine", "ray", "--workers", "2")


def start(folder: Path, cache: Path, *options: str, token: str = "") -> subprocess.Popen:
    """Starts the sweep of a folder's `grid.toml`, with a cache of its own."""
    environment = os.environ | {"MUBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    if token:
        environment[token] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "mubench", "sweep", "grid.toml", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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


def no_process_of(token: str) -> bool:
    """True if every process that stems from a sweep is gone soon."""
    for _ in range(600):
        if not tokened(token):
            return True
        time.sleep(0.1)
    return False


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
