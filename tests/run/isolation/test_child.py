"""The isolated process: what it says of the method that it imports."""

import pytest

from mubench.method.discovery import load_method
from mubench.method.presets import Choice
from tests.helpers.methods import bad


def test_descriptions_say_what_a_record_needs_and_list_every_mistake(isolation):
    method = load_method("finetune")
    first, second = isolation.describe("finetune", [Choice(), Choice({"lr": 0.5})])
    assert (first.name, first.distribution) == ("finetune", "mubench")
    assert first.source_sha256 == method.source_sha256
    assert first.code == second.code == method.code
    assert first.requires == {"retain"}
    assert (first.parameters["lr"], second.parameters["lr"]) == (0.01, 0.5)
    with pytest.raises(ValueError, match=r"(?s)no parameter 'lrr'.*finetune.lr"):
        isolation.describe("finetune", [Choice({"lrr": 1}), Choice({"lr": -1})])
    with pytest.raises(ValueError, match="unknown method 'finetun'"):
        isolation.describe("finetun")


def test_a_method_that_raises_at_import_is_a_mistake_of_the_users(isolation):
    with pytest.raises(ValueError, match="cannot be imported: RuntimeError: no such luck"):
        isolation.describe(bad("raises_at_import"))
