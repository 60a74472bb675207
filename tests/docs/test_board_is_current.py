"""The board in this repository follows from its records."""

import re
import shlex

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.record.check import read_results
from mubench.task.installed import installed_tasks
from tests.helpers.places import ROOT

RESULTS = ROOT / "leaderboard" / "results"
AUDITED = ROOT / "leaderboard" / "audit" / "results"
COMMAND = r"`mubench (leaderboard --results {} [^`]+)`"
"""As developers type it, for a folder of records."""

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="runs from an installed wheel")


@pytest.mark.parametrize("results", [RESULTS, AUDITED], ids=["board", "audit"])
def test_page_excerpt_and_plots_are_up_to_date(monkeypatch, results):
    monkeypatch.chdir(ROOT)
    pattern = COMMAND.format(results.relative_to(ROOT))
    command = shlex.split(re.search(pattern, (ROOT / "CONTRIBUTING.md").read_text())[1])
    result = CliRunner().invoke(main, [*command, "--check"])
    assert result.exit_code == 0, result.stderr


@pytest.mark.slow
def test_the_page_beside_a_paper_is_up_to_date(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = re.findall(r"`mubench (report [^`]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(found) == 1
    result = CliRunner().invoke(main, [*shlex.split(found[0]), "--check"])
    assert result.exit_code == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("results", [RESULTS, AUDITED], ids=["board", "audit"])
def test_every_number_follows_from_its_readout(results):
    read = read_results(results, installed_tasks(), thorough=True)
    assert not read.rejected
    assert read.checked
