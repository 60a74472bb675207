"""The workflows of this repository run what they say."""

import re
import shlex
import tomllib

import pytest

from mubench.method.discovery import available_methods
from tests.helpers.commands import parsed
from tests.helpers.packages import succeed
from tests.helpers.places import ROOT
from tests.helpers.workflows import commands

HOUSE = ROOT / "pyproject.toml"


def test_the_houses_own_workflow_runs_what_developers_run():
    workflow = HOUSE.parent / ".github/workflows/ci.yml"
    if not workflow.is_file():
        pytest.skip("runs from an installed wheel")
    first, _, last = commands(workflow)
    assert first == ".ci/run"
    assert "mubench verify leaderboard/results --base" in last


def test_merged_entries_are_measured_again_by_the_name_of_the_merge():
    workflow = HOUSE.parent / ".github/workflows/again.yml"
    if not workflow.is_file():
        pytest.skip("runs from an installed wheel")
    *_, last = commands(workflow)
    program, *words = shlex.split(last)
    assert program == "mubench"
    given = parsed(words, resilient_parsing=True).params
    assert given["chosen_by"] == "$GITHUB_SHA"
    assert given["count"] == 2
    assert given["write"]


@pytest.mark.slow
def test_the_houses_own_gate_works(tmp_path, own_cache):
    """All but what installs, on the first method and seed of its grid."""
    workflow = HOUSE.parent / ".github/workflows/regress.yml"
    if not workflow.is_file():
        pytest.skip("runs from an installed wheel")
    grid = tomllib.loads((workflow.parent.parent / "regress.toml").read_text())
    known = available_methods()
    assert all(method in known for method in grid["methods"])
    first = {name: values[:1] for name, values in grid.items()}
    before = tmp_path / "before/.github/regress.toml"
    before.parent.mkdir(parents=True)
    before.write_text("".join(f"{name} = {values}\n" for name, values in first.items()))
    summary = tmp_path / "summary.md"
    lines = [step for step in commands(workflow) if "pip" not in step]
    assert len(lines) == 3
    for line in lines:
        line = re.sub("(old|new)/bin/", "", line)
        succeed("bash", "-euo", "pipefail", "-c", line, cwd=tmp_path,
                GITHUB_STEP_SUMMARY=str(summary))  # fmt: skip
    assert "finetune" in summary.read_text()
