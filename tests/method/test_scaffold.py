"""What `mubench new-method` writes works as it is."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.method import scaffold
from mubench.method.discovery import available_methods, load_method
from mubench.method.parameters import configure
from tests.helpers.packages import install, succeed
from tests.helpers.places import ROOT

HOUSE = ROOT / "pyproject.toml"


@pytest.fixture
def folder(tmp_path):
    scaffold.new_method("gentle-ascent", tmp_path)
    return tmp_path / "gentle-ascent"


def test_the_command_names_what_it_wrote(tmp_path):
    result = CliRunner().invoke(main, ["new-method", "gentle-ascent", "--dir", str(tmp_path)])
    assert result.exit_code == 0
    written = [Path(line) for line in result.stdout.splitlines()]
    assert len(written) == len(scaffold.FILES)
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in written)
    assert not any(re.search(r"\$[a-z]", path.read_text()) for path in written)
    assert "edit gentle_ascent.py" in result.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Gentle", "in small letters, not 'Gentle'"),
        ("gentle_ascent", "is named like gentle-ascent"),
        ("../up", "is named like"),
        ("class", "is named like"),
        ("torch", "would hide the module 'torch'"),
        ("finetune", "mubench has a method 'finetune' already"),
        ("taken", "already: choose another name or --dir"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, name, expected):
    (tmp_path / "taken").mkdir()
    result = CliRunner().invoke(main, ["new-method", name, "--dir", str(tmp_path)])
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


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


def commands(workflow):
    """The shell commands of a workflow, job by job."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_the_workflow_installs_tests_and_measures(folder):
    steps = commands(folder / ".github/workflows/check.yml")
    assert [step.split()[0] for step in steps] == ["pip", "pip", "pytest", "mubench", "mubench"]


def test_the_houses_own_workflow_runs_what_developers_run():
    workflow = HOUSE.parent / ".github/workflows/ci.yml"
    if not workflow.is_file():
        pytest.skip("runs from an installed wheel")
    first, _, last = commands(workflow)
    assert first == ".ci/run"
    assert "mubench verify leaderboard/results --base" in last


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
            assert re.search(r"8-40 +gentle-ascent", printed)
    assert "gentle-ascent" in summary.read_text()
