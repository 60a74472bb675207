"""The board in this repository follows from its records."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench.cli import main
from mubench.task import available_tasks, load_task
from mubench.verify import read_results

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "leaderboard" / "results"

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="runs from an installed wheel")


def test_page_excerpt_and_plots_are_up_to_date(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["leaderboard", "--excerpt", "README.md", "--check"])
    assert result.exit_code == 0, result.stderr


def test_every_number_follows_from_its_readout():
    read = read_results(RESULTS, [load_task(name) for name in available_tasks()], thorough=True)
    assert not read.rejected
    assert read.checked
