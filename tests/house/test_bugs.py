"""A bug of the harness is a traceback: never a usage message, never the fault of a record."""

import numpy as np
import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.record import check, metrics, rules, stacked
from tests.helpers.lab import Lab, make_task, spec_text


def bug(*_, **__):
    return np.ones(2) + np.ones(3)


@pytest.fixture
def results(tmp_path):
    """A folder of one whole record, and options that make a command read it."""
    Lab(tmp_path / "results", make_task(classes=("a",)), num_peers=0).add("tried", "a-50")
    task = tmp_path / "made.toml"
    task.write_text(spec_text(classes=("a",)))
    return tmp_path / "results", task


PLANTED = {
    "the checking of a record": (rules.TaskRules, "check_cost"),
    "reading a folder": (check, "_check_place"),
    "the means of a folder": (check, "_read_golds"),
    "a metric": (stacked, "per_sample"),
}


@pytest.mark.parametrize("command", ["leaderboard", "plot", "regress"])
@pytest.mark.parametrize("place", PLANTED)
def test_a_bug_ends_in_a_traceback(results, tmp_path, monkeypatch, place, command):
    folder, task = results
    options = {
        "leaderboard": ["--results", folder, "--page", tmp_path / "page.md"],
        "plot": ["--results", folder, "--out", tmp_path / "plots"],
        "regress": [folder, folder],
    }[command]
    arguments = [command, *map(str, options), "--task", str(task)]
    held = CliRunner().invoke(main, arguments)
    assert held.exit_code == 0, held.output
    monkeypatch.setattr(*PLANTED[place], bug)
    done = CliRunner().invoke(main, arguments)
    assert isinstance(done.exception, ValueError)
    assert "could not be broadcast" in str(done.exception)
    assert done.exit_code not in (0, 2)
    assert "rejected" not in done.output and "Usage" not in done.output


def test_a_bug_in_a_full_check_ends_in_a_traceback(results, monkeypatch):
    folder, _ = results
    read = [make_task(classes=("a",))]
    assert check.read_results(folder, read, thorough=True).rejected == ()
    monkeypatch.setattr(metrics, "mean_metric", bug)
    with pytest.raises(ValueError, match="could not be broadcast"):
        check.read_results(folder, read, thorough=True)
