"""Every command of leaderboard/SUBMITTING.md works."""

import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.commands import call
from tests.helpers.packages import install
from tests.helpers.places import ROOT

PAGE = ROOT / "leaderboard/SUBMITTING.md"


@pytest.mark.slow
def test_every_command_of_the_page_works(entry, tmp_path, monkeypatch):
    """In an empty folder, on a task that is smaller than the page's."""
    if not PAGE.is_file():
        pytest.skip("runs from an installed wheel")
    text = PAGE.read_text()
    for old, new in (
        ("digits-subset", "small"), ("gentle-ascent", "calm-ascent"),
        ("gentle_ascent", "calm_ascent"), ("GentleAscent", "CalmAscent"),
    ):  # fmt: skip
        text = text.replace(old, new)
    monkeypatch.chdir(tmp_path)
    done = []
    for block in re.findall("```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "cd":
                monkeypatch.chdir(arguments[0])
            elif arguments == ["install", "-e", "."]:
                install(Path(), tmp_path / "site")
                monkeypatch.syspath_prepend(tmp_path / "site")
            elif program == "mubench" and arguments[0] != "gold":
                result = call(*arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}"
                done.append(arguments[0])
    assert done == ["new-method", "show", "check", "run", "run", "run", "submit", "verify",
                    "run", "submit"]  # fmt: skip
    assert call("verify", "submission").exit_code == 0
