"""Public names: what `mubench` promises, shows to type checkers and loads on first use is one."""

import ast
from importlib import import_module

import pytest

import mubench
from mubench._util.files import HARNESS

TREE = ast.parse((HARNESS / "__init__.py").read_text())


def literal(name):
    """What a list or mapping of literals at the top of the package says."""
    (value,) = [
        node.value
        for node in TREE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    return ast.literal_eval(value)


def shown_to_type_checkers():
    """Name to module below `mubench`, of the imports that are for type checkers only."""
    (block,) = [
        node
        for node in TREE.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.asname or alias.name: statement.module.removeprefix("mubench.")
        for statement in block.body
        for alias in statement.names
    }


def test_the_three_lists_agree():
    promised = literal("__all__")
    assert len(promised) == len(set(promised))
    assert set(promised) == set(shown_to_type_checkers())
    assert literal("_HOMES") == shown_to_type_checkers()


@pytest.mark.parametrize("name", literal("__all__"))
def test_every_public_name_can_be_imported(name):
    home = import_module(f"mubench.{shown_to_type_checkers()[name]}")
    assert getattr(mubench, name) is getattr(home, name)


def test_another_name_is_an_error_that_names_it():
    with pytest.raises(AttributeError, match="'mubench' has no attribute 'Sample'"):
        _ = mubench.Sample
