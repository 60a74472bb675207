"""What `mubench new-method` writes works as it is."""

import re
import shutil
import subprocess
import tomllib

import pytest

from mubench.method import scaffold
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from tests.helpers.packages import install, succeed
from tests.helpers.places import ROOT
from tests.helpers.workflows import commands

HOUSE = ROOT / "pyproject.toml"


@pytest.fixture
def folder(tmp_path):
    scaffold.new_method("gentle-ascent", tmp_path)
    return tmp_path / "gentle-ascent"


def test_the_method_can_be_named_by_its_file(folder):
    method = load_method(f"{folder / 'gentle_ascent.py'}:GentleAscent")
    assert method.name == "gentle-ascent"
    assert configure(method, {}).lr == pytest.approx(0.003)


def test_the_project_is_the_entry_point(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    entry = project["entry-points"]["mubench.methods"]
    assert entry == {"gentle-ascent": "gentle_ascent:GentleAscent"}


@pytest.mark.slow
def test_it_passes_its_own_test_as_written(folder, tmp_path):
    site = tmp_path / "site"
    install(folder, site)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "tests", elsewhere / "tests")
    printed = succeed("pytest", "-q", "-p", "no:cacheprovider", cwd=elsewhere, site=site)
    assert "19 passed" in printed
    assert "gentle-ascent 0.1.0" in succeed("mubench", "list", "methods", cwd=tmp_path, site=site)
    # and without being installed
    printed = succeed("mubench", "check", "./gentle_ascent.py:GentleAscent", cwd=folder)
    assert "failed" not in printed


def test_it_reads_like_the_house(folder):
    if not shutil.which("ruff") or not HOUSE.is_file():
        pytest.skip("no ruff, or no house")
    for command in (["check"], ["format", "--check"]):
        house = ["ruff", *command, "--config", str(HOUSE)]
        subprocess.run([*house, "gentle_ascent.py", "tests"], cwd=folder, check=True)


def test_the_workflow_installs_tests_and_measures(folder):
    steps = commands(folder / ".github/workflows/check.yml")
    assert [step.split()[0] for step in steps] == ["pip", "pip", "pytest", "mubench", "mubench"]


@pytest.mark.slow
def test_the_commands_of_readme_and_workflow_work(folder, tmp_path, own_cache):
    """All but those that install."""
    site = tmp_path / "site"
    install(folder, site)
    readme = (folder / "README.md").read_text()
    lines = [line for block in re.findall("```sh\\n(.*?)```", readme, re.DOTALL)
             for line in block.splitlines()]  # fmt: skip
    lines += [s for s in commands(folder / ".github/workflows/check.yml") if "pip" not in s]
    assert len(lines) == 7
    summary = tmp_path / "summary.md"
    for line in dict.fromkeys(lines):
        if " regress " in line:
            shutil.copytree(folder / "results", folder / "baseline")
        where = {"cwd": folder, "site": site, "GITHUB_STEP_SUMMARY": str(summary)}
        printed = succeed("bash", "-euc", line, **where)
        if " run " in line:
            assert re.search(r"8-40: *\ngentle-ascent ", printed)
    assert "gentle-ascent" in summary.read_text()
