"""The commands of a method's author: `new-method` and `check`."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.method import scaffold
from mubench.method.checks.checks import CHECKS
from tests.helpers.defects import RETURN, before_return, write


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
        ("Gentle", "in lower case, not 'Gentle'"),
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


def test_the_command(tmp_path):
    def call(*changes):
        return CliRunner().invoke(main, ["check", write(tmp_path, *changes)])

    good = call({})
    assert good.exit_code == 0
    assert good.stdout.count("\n") == len(CHECKS)
    bad = call(before_return("print('hello')"))
    assert bad.exit_code == 1
    assert "failed    check_prints_nothing: unlearn() prints 'hello'" in bad.stdout
    assert "1 of 19 checks failed" in bad.stderr
    raises = call({RETURN: "        1 / 0\n"})
    assert "unreached 9 more checks: unlearn() raises" in raises.stdout
    assert call({"import gc": "import no_such_thing"}).exit_code == 2


def test_a_preset_that_there_is_not_is_no_check(tmp_path):
    result = CliRunner().invoke(main, ["check", write(tmp_path, {}), "--preset", "paper"])
    assert result.exit_code == 2
    assert "has no preset 'paper'" in result.stderr
