"""`mubench tune`: its table, its preset file, and a kill on the way."""

import subprocess
import sys
from pathlib import Path

import pytest

from mubench.record.folder import read_record
from tests.helpers.commands import call
from tests.helpers.tuning import NOISY

TUNE = (
    "tune", "./noisy.py:Noisy", "--task", "tiny.toml", "--problems", 1, "--trials", 5,
    "--no-isolate", "--set", "fixed=3",
)  # fmt: skip
FILE = "tuned-noisy-tiny.toml"


@pytest.fixture
def place(folder):
    (folder / "noisy.py").write_text(NOISY)
    return folder


def test_a_search_leaves_a_preset_that_a_run_takes(place):
    result = call(*TUNE)
    assert result.exit_code == 0, result.output
    assert "twin " in result.stdout
    assert "Best of 5 trials: trial" in result.stdout
    assert "trial 0 (default): margin distance" in result.stderr
    run = ("run", "--method", "./noisy.py:Noisy", "--task", "tiny.toml", "--no-isolate")
    result = call(*run, "--preset", FILE)
    assert result.exit_code == 0, result.output
    (path,) = Path("results/tiny/noisy").glob("*.json")
    record = read_record(path)
    assert (record.preset, record.changed[-1]) == ("tuned", "noise")
    assert f"epochs_equivalent = {record.tuning_epochs}" in Path(FILE).read_text()
    assert call(*run, "--preset", "papper").exit_code == 2
    assert "--preset paper" in call("show", "./noisy.py:Noisy").stdout
    assert "mubench tune" in call("show", "./noisy.py:Noisy").stdout


def test_a_users_mistake_is_one_clear_message(place):
    result = call("tune", "original", "--task", "tiny.toml")
    assert result.exit_code == 2
    assert "write behind a parameter's type where" in result.stderr


@pytest.mark.slow
def test_a_search_goes_on_after_kill_9(place, monkeypatch):
    command = [sys.executable, "-m", "mubench", *map(str, TUNE), "--seed", "7"]
    monkeypatch.setenv("DIES_AT_NOISE_BELOW", "0.4")
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -9
    assert "trial 0 (default)" in killed.stderr
    monkeypatch.delenv("DIES_AT_NOISE_BELOW")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trials of an earlier search" in done.stderr
    assert "(default)" not in done.stderr
