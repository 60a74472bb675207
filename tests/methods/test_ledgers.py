"""Every built-in method that is no control has a complete ledger, which agrees with its code."""

import ast
import importlib

import pytest

from mubench.board.ledger import ledger_of
from mubench.method.discovery import available_methods, is_built_in, load_method
from mubench.task.installed import installed_tasks, load_task
from tests.helpers.places import ROOT

ENTRIES = {name: found for name, found in available_methods().items() if is_built_in(name)}
METHODS = [name for name in ENTRIES if not load_method(name).control]


def test_methods_and_no_control_have_ledgers():
    assert len(METHODS) >= 20
    assert [name for name in ENTRIES if ledger_of(name, ENTRIES[name])] == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_ledger_is_complete_and_agrees_with_the_code(name):
    ledger, method = ledger_of(name, ENTRIES[name]), load_method(name)
    assert ledger.arxiv
    assert ledger.departures
    assert bool(ledger.claims) is not bool(ledger.claims_sought)
    assert bool(ledger.code) is bool(ledger.commit)
    document = importlib.import_module(method.cls.__module__).__doc__
    assert f"arXiv:{ledger.arxiv}" in document
    assert method.requires <= set(ledger.access)
    # A paper's method may have more: a log of training, or data to choose a model by.
    assert set(ledger.access) - method.requires <= {"training_log", "holdout"}


def test_tasks_that_claims_name_exist():
    ledgers = [ledger_of(name, ENTRIES[name]) for name in METHODS]
    named = {claim.task for ledger in ledgers for claim in ledger.claims if claim.task}
    assert named
    assert named <= {task.name for task in installed_tasks()}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("unsir", ["class"]),
        ("boundary-shrink", ["class"]),
        ("amun", ["random"]),
        ("tmu", ["subset"]),
        ("lotus", ["class", "random"]),
        ("scrub", ["subset", "class", "random"]),
    ],
)
def test_each_kind_of_task_is_off_design_for_those_not_made_for_it(name, kinds):
    ledger = ledger_of(name, ENTRIES[name])
    tasks = [load_task(f"cifar10-{kind}") for kind in ("subset", "class", "random")]
    on_design = [task for task in tasks if not ledger.is_off_design(task.forget.kind)]
    assert [task.name.removeprefix("cifar10-") for task in on_design] == kinds


@pytest.mark.parametrize("name", METHODS)
def test_tests_that_a_ledger_names_exist(name):
    for test in ledger_of(name, ENTRIES[name]).verified.tests:
        file, _, function = test.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
