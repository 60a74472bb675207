"""`mubench run` in a process of its own and without, and `mubench run` that is killed."""

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


@pytest.fixture
def command(tiny_store, tmp_path, monkeypatch):
    """`mubench run` of a method that is not built in and calls `sys.exit(0)`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    Path("tiny.toml").write_text(TINY)
    Path("mine.py").write_text((BAD_PLUGINS / "exits.py").read_text())
    return ["run", "--task", "tiny.toml", "--method", "./mine.py:Bad"]


def the_record():
    (path,) = Path("results").rglob("*.json")
    return read_record(path)


def test_a_method_that_is_not_built_in_is_isolated(tiny, command):
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1, result.output
    assert "SystemExit: 0" in result.stdout
    assert "not isolated" not in result.stderr
    record = the_record()
    assert (record.method, record.status, record.isolated) == ("bad", "error", True)
    assert record.isolation in ("process", "namespaces")
    result = CliRunner().invoke(main, [*command, "--set", "x=1"])
    assert result.exit_code == 2
    assert "bad has no parameter 'x'" in result.stderr


def test_what_is_given_up_without_isolation_is_said(tiny, command):
    result = CliRunner().invoke(main, [*command, "--no-isolate"])
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if "not isolated" in line]
    assert "golds, test data, files" in line
    record = the_record()
    assert (record.status, record.isolated, record.isolation) == ("error", False, None)


def test_a_built_in_method_is_not_isolated_unless_that_is_wanted(tiny, command):
    for extra, isolated in (((), False), (("--isolate",), True)):
        result = CliRunner().invoke(main, [*command[:3], "--method", "original", *extra])
        assert result.exit_code == 0, result.output
        assert "not isolated" not in result.stderr
        assert the_record().isolated is isolated


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
