"""The page and the script for clusters are true."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import parsed
from tests.helpers.packages import succeed
from tests.helpers.places import ROOT

SCRIPT = ROOT / "docs" / "slurm.sh"
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "slurm.md").read_text(), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
COMMANDS = [
    words[words.index("mubench") + 1 :] for words in map(shlex.split, LINES) if "mubench" in words
]


@pytest.fixture
def stub(tmp_path):
    """Runs the script as a task of an array, with a mubench that says how it was called."""
    program = tmp_path / "mubench"
    program.write_text('#!/bin/sh\necho "$MUBENCH_CACHE" "$@"\n')
    program.chmod(0o755)

    def run(task, *arguments, **variables):
        path = f"{tmp_path}:{os.environ['PATH']}"
        return succeed("bash", SCRIPT, *arguments, cwd=tmp_path, PATH=path,
                       SLURM_ARRAY_TASK_ID=task, **variables).split()  # fmt: skip

    return run


def test_a_task_of_an_array_measures_its_part(stub, tmp_path):
    found = stub("3", "grid.toml", "16", MUBENCH_CACHE="/shared", RESULTS="found")
    assert found == ["/shared", *["sweep", "grid.toml", "--shard", "3/16", "--out", "found"]]
    (tmp_path / "grid.toml").touch()
    context = parsed(["sweep", str(tmp_path / "grid.toml"), *found[3:]])
    assert context.params["shard"] == (3, 16)


def test_a_script_without_the_count_of_parts_stops(stub):
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        stub("3", "grid.toml")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_of_the_page_is_well_formed(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").touch()
    parsed(words)


def test_the_page_has_commands():
    assert len(COMMANDS) >= 5
    assert any("--engine" in words for words in COMMANDS)
