"""What reads records works where torch cannot be imported."""

import shutil
import sys

import pytest

from mubench.record.folder import ResultsFolder, read_record
from tests.helpers.lab import Lab, make_task, spec_text
from tests.helpers.packages import run
from tests.helpers.places import ROOT

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(f"no module {name}")

sys.meta_path.insert(0, Blocked())
try:
    import torch
except ModuleNotFoundError:
    from mubench.cli import main
    main(sys.argv[1:])
"""

COMMANDS = {
    "leaderboard": ["leaderboard", "--results", "results", "--page", "page.md"],
    "plot": ["plot", "--results", "results", "--out", "plots"],
    "regress": ["regress", "results", "results"],
    "report": ["report", "paper.toml", "--results", "results", "--page", "page.md"],
}


@pytest.fixture
def folder(tmp_path):
    Lab(tmp_path / "results", make_task(classes=("a",)), num_peers=8).add("tried", "a-50")
    (tmp_path / "made.toml").write_text(spec_text(classes=("a",)))
    table = 'name = "t"\ntitle = "T"\ntask = "made@1"\nmeasure = "delta"\ncells = { A = "a-50" }'
    rows = 'rows = [{ label = "tried" }]'
    text = f'title = "P"\nintroduction = "I"\n[[tables]]\n{table}\n{rows}\n'
    (tmp_path / "paper.toml").write_text(text)
    (tmp_path / "paper.csv").write_text("table,row,cell,value\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_command_without_torch(folder, command):
    options = [*COMMANDS[command], "--task", "made.toml"]
    done = run(sys.executable, "-c", BLOCKED, *options, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_verify_without_torch(tmp_path):
    published = ROOT / "leaderboard/results/cifar10-scaling"
    if not published.is_dir():
        pytest.skip("no checkout")
    copy = tmp_path / "results/cifar10-scaling"
    for name in ("original", "golds"):
        shutil.copytree(published / name, copy / name)
    (copy / "originals").mkdir()
    for path in (copy / "original").glob("*.json"):  # a method with a log has originals of its own
        scored = ResultsFolder(published.parent).original(read_record(path))
        shutil.copy(scored, copy / "originals")
    done = run(sys.executable, "-c", BLOCKED, "verify", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 records hold, 0 complaints" in done.stderr


def test_verify_without_torch_refuses_as_ever(folder):
    done = run(sys.executable, "-c", BLOCKED, "verify", "results", cwd=folder)
    # The task is not installed: the record was read, and is refused for that alone.
    assert (done.returncode, done.stdout.count("\n")) == (1, 1), done.stderr
    assert "it is of made@1, and there is no such task here" in done.stdout
