"""The rooms: imports run downwards only, and every contract fails where it is broken."""

import shutil
import sys
import tomllib

import pytest

from mubench._util.files import HARNESS
from tests.helpers.packages import run
from tests.helpers.places import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="no checkout")

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder):
    return run(sys.executable, "-c", LINT, "--no-cache", "--config", "pyproject.toml", cwd=folder)


@pytest.fixture
def copy(tmp_path):
    """The harness alone in a folder, to be spoilt."""
    shutil.copytree(HARNESS, tmp_path / "mubench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mubench_methods").mkdir()
    (tmp_path / "mubench_methods/__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "5 kept, 0 broken" in done.stdout


BREACHES = {
    "Rooms import downwards only": ("task/spec.py", "from mubench.board.pages import leaderboard"),
    "What reads records needs no torch": ("record/rules.py", "import torch"),
    "Only plots draw": ("gate/entry.py", "import matplotlib.pyplot"),
    "The core knows no built-in method": ("gold/build.py", "import mubench_methods"),
    "No circles inside a room": ("board/ranking.py", "from mubench.board.pages import leaderboard"),
}


@pytest.mark.parametrize("contract", BREACHES)
def test_each_contract_fails_where_it_is_broken(copy, contract):
    file, line = BREACHES[contract]
    path = copy / "mubench" / file
    path.write_text(f"{path.read_text()}\n\ndef late():\n    {line}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert f"{contract}" in done.stdout.partition("Broken contracts")[2], done.stdout


def test_a_new_room_must_have_a_floor(copy):
    (copy / "mubench/attic").mkdir()
    (copy / "mubench/attic/__init__.py").touch()
    assert lint(copy).returncode == 1


def test_rooms_are_few_and_not_crowded():
    rooms = [path for path in HARNESS.iterdir() if (path / "__init__.py").is_file()]
    assert len(rooms) <= 11
    for room in HARNESS.rglob("__init__.py"):
        assert len(list(room.parent.glob("*.py"))) <= 12, f"{room.parent.name} is crowded"


def test_every_room_is_packaged():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {path.parent for path in HARNESS.rglob("__init__.py")}
    names = {".".join(("mubench", *room.relative_to(HARNESS).parts)) for room in rooms}
    assert names == {name for name in listed if name.split(".")[0] == "mubench"}
