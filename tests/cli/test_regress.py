"""`mubench regress`: its formats and exit codes."""

import json
import shutil

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from tests.helpers.comparisons import CLASSES, fresh_lab, ten_classes
from tests.helpers.lab import spec_text


@pytest.fixture
def lab(tmp_path):
    return ten_classes(tmp_path / "baseline")


@pytest.fixture
def call(lab, tmp_path):
    (tmp_path / "made.toml").write_text(spec_text(classes=CLASSES, sizes=(40,)))

    def call(*arguments):
        folders = [str(lab.results), str(tmp_path / "new")]
        task = ["--task", str(tmp_path / "made.toml")]
        return CliRunner().invoke(main, ["regress", *folders, *task, *arguments])

    return call


def test_command(lab, tmp_path, call):
    lab.add_entry("m")
    new = fresh_lab(lab, tmp_path)
    new.add_entry("m", forward_samples=2000, backward_samples=2000)
    table = call()
    assert table.exit_code == 1
    assert "m (" in table.stdout
    assert "COSTLIER" in table.stdout
    assert "Worse: the loss from baseline to new" in table.stdout
    markdown = call("--format", "markdown")
    assert markdown.exit_code == 1
    assert markdown.stdout.startswith("### mubench regress: regression")
    assert "worst case a-40: epochs_equivalent" in markdown.stdout
    content = json.loads(call("--format", "json").stdout)
    assert [found["measure"] for found in content["regressions"]] == ["epochs_equivalent"]


def test_command_passes(lab, tmp_path, call):
    lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    assert call().exit_code == 0
    assert call("--format", "markdown").stdout.startswith("### mubench regress: no regression")


def test_command_rejects(lab, tmp_path, call):
    path, *_ = lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    path.with_suffix(".npz").unlink()
    result = call()
    assert result.exit_code == 1
    assert path.name in result.stdout


def test_command_without_records(lab, call):
    lab.add_entry("m")
    assert call().exit_code == 2
