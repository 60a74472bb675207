"""Sweeps that are killed at random moments, by each engine, end with the same records."""

import json
import random
import shutil
import subprocess
import time
from importlib.util import find_spec

import pytest

from tests.helpers.processes import ON_LINUX
from tests.helpers.sweeps import KILLS, RAY, finish, measured, outliving, start, succeed
from tests.helpers.tiny import TINY

TASK = TINY.replace("epochs = 3", "epochs = 20")  # so that trainings are often hit

GRID = """
tasks = ["tiny.toml"]
methods = ["finetune", {name = "random-label", epochs = [1, 2]}]
cases = ["b-6", "d-6"]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not ON_LINUX, reason="looks for processes in /proc"),
]

ENGINES = {
    "local": (),
    "ray": pytest.param(
        RAY, marks=pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray")
    ),
}


def write(folder):
    (folder / "tiny.toml").write_text(TASK)
    (folder / "grid.toml").write_text(GRID)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a sweep leaves that trains five models and measures six cells."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    succeed(folder, folder / "cache")
    return measured(folder / "results")


def killed_after(folder, options, seconds, token) -> subprocess.Popen | None:
    """A sweep that was killed after some seconds; None if it ended before."""
    process = start(folder, folder / "cache", *options, token=token)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        finish(process)
        assert not outliving(process, token), "the processes of a killed sweep end"
        return process
    out, err = finish(process)
    assert process.returncode == 0, out + err
    return None


@pytest.mark.parametrize("options", ENGINES.values(), ids=ENGINES)
def test_a_sweep_killed_at_random_moments_ends_with_the_same_records(
    undisturbed, tmp_path, options
):
    """From an empty cache, so that trainings are killed too; a sweep that ended starts anew."""
    write(tmp_path)
    results, cache = tmp_path / "results", tmp_path / "cache"
    began = time.monotonic()
    succeed(tmp_path, cache, *options)
    took = time.monotonic() - began
    assert measured(results) == undisturbed
    seed = random.randrange(10**6)
    print(f"seed {seed}, undisturbed {took:.0f} s")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    token, killed, num_ended = f"SWEEP_{seed}", [], 0
    while len(killed) < KILLS:
        shutil.rmtree(results)
        shutil.rmtree(cache)
        while len(killed) < KILLS and (
            process := killed_after(tmp_path, options, draw.uniform(0.05, 0.9) * took, token)
        ):
            killed.append(process)
        succeed(tmp_path, cache, *options)
        num_ended += 1
        assert measured(results) == undisturbed
        print(f"killed {len(killed)} times, ended {num_ended} times")  # noqa: T201
    assert not any(outliving(process, token, agents=True) for process in killed)

    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    (tmp_path / "grid.toml").write_text(GRID.replace('["finetune"', '["original", "finetune"'))
    succeed(tmp_path, cache, *options)
    after = {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    assert before.items() <= after.items()
    assert (len(before), len(after)) == (6, 8)
    costs = [json.loads(path.read_text())["cost"] for path in after]
    assert all(cost["exclusive_device"] is not None for cost in costs)
