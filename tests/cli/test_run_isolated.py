"""`mubench run` with `--isolate`, and `mubench run` that is killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.record.folder import read_record
from tests.helpers.golds import build_command, models_in
from tests.helpers.places import BAD_PLUGINS
from tests.helpers.tiny import TINY


def test_the_command_isolates_when_it_is_told_to(tiny_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    Path("tiny.toml").write_text(TINY)
    Path("mine.py").write_text((BAD_PLUGINS / "exits.py").read_text())
    command = ["run", "--task", "tiny.toml", "--isolate", "--method", "./mine.py:Bad"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1, result.output
    assert "SystemExit: 0" in result.stdout
    (path,) = Path("results").rglob("*.json")
    record = read_record(path)
    assert (record.method, record.status, record.isolated) == ("bad", "error", True)
    result = CliRunner().invoke(main, [*command, "--set", "x=1"])
    assert result.exit_code == 2
    assert "bad has no parameter 'x'" in result.stderr


def start_run(folder, cache, results):
    """`mubench run` from nothing: three trainings of some seconds, then the method."""
    command = [*build_command(folder), "--method", "finetune", "--out", str(results), "--again"]
    command[3:5] = ["run"]
    environment = os.environ | {"MUBENCH_CACHE": str(cache)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def metrics_in(results):
    (path,) = results.glob("tiny/finetune/*.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    return record["metrics"], record["floor"], record["readout_sha256"]


@pytest.mark.slow
def test_killed_at_random_moments_the_same_command_finishes(tmp_path):
    """`kill -9` ten times, while golds train and while the method runs: nothing is different."""
    assert start_run(tmp_path, tmp_path / "quiet", tmp_path / "quiet-results").wait() == 0
    cache, results = tmp_path / "killed", tmp_path / "killed-results"
    kills = 0
    for delay in np.random.default_rng(0).uniform(3, 14, size=10):
        run = start_run(tmp_path, cache, results)
        time.sleep(delay)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.wait()
    assert start_run(tmp_path, cache, results).wait() == 0
    assert kills >= 3
    assert metrics_in(results) == metrics_in(tmp_path / "quiet-results")
    expected, got = models_in(tmp_path / "quiet"), models_in(cache)
    assert got.keys() == expected.keys()
    for key, tensors in expected.items():
        assert all(torch.equal(tensors[name], got[key][name]) for name in tensors)
