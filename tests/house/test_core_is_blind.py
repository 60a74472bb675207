"""The core knows no built-in method."""

import ast
from importlib.metadata import entry_points
from pathlib import Path

import mubench
from mubench.method.discovery import METHODS_GROUP

SOURCE = Path(mubench.__file__).parent


def test_the_core_knows_no_builtin_method():
    names = {entry.name for entry in entry_points(group=METHODS_GROUP)}
    assert {"tmu", "finetune", "retrain"} <= names
    # words that the harness needs for what they mean: the two models every case has
    names -= {"original", "oracle"}
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "mubench_methods" not in ast.dump(node), file
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{file.name} knows {node.value!r}"
