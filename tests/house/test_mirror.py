"""Tests mirror the rooms: `mubench/<room>/<module>.py` has `tests/<room>/test_<module>.py`."""

import ast

import pytest

from mubench._util.files import HARNESS
from tests.helpers.places import ROOT

TESTS = ROOT / "tests"

EXCEPT: dict[str, str] = {}
"""Modules with functions and no tests of their own: the path below `mubench`, and why in a line."""

NO_ROOMS = {"house", "docs", "real", "benchmarks", "methods", "helpers", "data"}


def parsed(folder):
    """Every module below a folder, by its path below it."""
    files = sorted(folder.rglob("*.py"))
    return {file.relative_to(folder): ast.parse(file.read_bytes()) for file in files}


def untested(harness, tests):
    """The modules that define a function and have no test file at the mirrored path."""
    return [
        module.as_posix()
        for module, tree in parsed(harness).items()
        if module.name not in ("__init__.py", "__main__.py")
        and any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
        and not (tests / module.with_name(f"test_{module.name}")).is_file()
    ]


def forbidden_imports(tests):
    """Where a file imports from a test file or relatively; `data` holds a stranger's packages."""
    return [
        f"{file.as_posix()}:{node.lineno}"
        for file, tree in parsed(tests).items()
        if file.parts[0] != "data"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and (getattr(node, "level", 0) or any(word.startswith("test_") for word in words(node)))
    ]


def words(node):
    """The parts of all dotted names in an import."""
    names = [alias.name for alias in node.names]
    return ".".join([getattr(node, "module", None) or "", *names]).split(".")


def homeless(tests, harness):
    """The folders of test files that are neither a room nor known to be none."""
    folders = {file.parent.relative_to(tests) for file in tests.rglob("test_*.py")}
    return sorted(
        folder.as_posix()
        for folder in folders
        if folder.parts
        and folder.parts[0] not in NO_ROOMS
        and not (harness / folder / "__init__.py").is_file()
    )


def test_every_module_with_functions_has_tests():
    missing = [module for module in untested(HARNESS, TESTS) if module not in EXCEPT]
    assert not missing, "no test file for " + ", ".join(missing)


def test_every_exception_is_one_and_has_a_reason():
    assert EXCEPT.keys() - untested(HARNESS, TESTS) == set(), "gone, tested, or without functions"
    assert all(reason.strip() and "\n" not in reason for reason in EXCEPT.values())


def test_no_file_imports_from_tests_or_relatively():
    assert forbidden_imports(TESTS) == []


def test_every_folder_of_tests_is_a_room():
    assert homeless(TESTS, HARNESS) == []


@pytest.fixture
def planted(tmp_path):
    """A harness of one room and its tests, all in order."""
    for name, text in {
        "mubench/room/__init__.py": "def late(): pass\n",
        "mubench/room/module.py": "class A:\n    def method(self): pass\n",
        "mubench/room/constants.py": "A = 1\n",
        "tests/room/test_module.py": "from tests.helpers.lab import Lab\n",
        "tests/house/test_layers.py": "import ast\n",
        "tests/data/plugin/code.py": "from .other import thing\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(planted):
    tests, harness = planted / "tests", planted / "mubench"
    return [untested(harness, tests), forbidden_imports(tests), homeless(tests, harness)]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("tests/room/test_more.py", "import ast\n", [[], [], []]),
        ("mubench/room/new.py", "async def f(): pass\n", [["room/new.py"], [], []]),
        ("tests/room/a.py", "from tests.room.test_module import x\n", [[], ["room/a.py:1"], []]),
        ("tests/room/a.py", "from tests.room import test_module\n", [[], ["room/a.py:1"], []]),
        ("tests/room/a.py", "\nimport tests.room.test_module\n", [[], ["room/a.py:2"], []]),
        ("tests/room/a.py", "def f():\n    from . import x\n", [[], ["room/a.py:2"], []]),
        ("tests/attic/test_box.py", "A = 1\n", [[], [], ["attic"]]),
        ("tests/room/attic/test_box.py", "A = 1\n", [[], [], ["room/attic"]]),
    ],
)
def test_what_is_out_of_place_is_found(planted, file, text, expected):
    assert found(planted) == [[], [], []]
    (planted / file).parent.mkdir(exist_ok=True)
    (planted / file).write_text(text)
    assert found(planted) == expected
