"""Every command of the README is true."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from tests.helpers.commands import parsed
from tests.helpers.packages import succeed
from tests.helpers.places import ROOT

README = (ROOT / "README.md").read_text()
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
COMMANDS = [line for line in LINES if line.startswith("mubench ")]
SETUP = [line for line in LINES if line.startswith("python3 -m venv ")]


def test_the_two_setup_commands_are_what_ci_runs():
    assert len(SETUP) == 2
    script = (ROOT / ".ci" / "run").read_text().replace(" --quiet", "")
    install, tests = SETUP
    assert install.partition(" && .venv/bin/mubench")[0] in script
    assert install.partition(".venv/bin/")[2].partition(".venv/bin/")[2] in script
    assert tests in script


def test_nothing_else_stands_in_the_readme():
    assert set(LINES) == set(COMMANDS) | set(SETUP)
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_well_formed(line, tmp_path, monkeypatch):
    """Parsed by the real parser: names of commands, options and choices are right."""
    monkeypatch.chdir(tmp_path)
    for name in ("golds.zip", "grid.toml"):
        Path(name).touch()
    Path("results").mkdir()
    parsed(shlex.split(line)[1:])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_on_digits_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook, plugin = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    Path("mine.py").write_text(plugin)
    grid, *_ = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    Path("grid.toml").write_text(grid)
    runner = CliRunner()
    first = SETUP[0].rpartition(".venv/bin/")[2]
    for line in [first, *COMMANDS]:
        if "cifar" in line:
            continue  # run by tests/real, with a recipe that fits a test
        if line.startswith("mubench regress baseline"):
            shutil.copytree("results", "baseline")
        result = runner.invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output)
    printed = succeed(sys.executable, "-c", notebook, cwd=tmp_path)
    assert re.match(
        r"8-40 0 ok \d+\.\d+\n8-40 1 ok \d+\.\d+\n\d+ records hold, 0 do not\n", printed
    )
    assert "finetune" in printed
