"""The isolated process: what it says of the method that it imports."""

import pytest

from mubench.method.discovery import load_method
from mubench.method.presets import Choice
from tests.helpers.methods import bad
from tests.helpers.tuning import NOISY


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


def test_presets_are_resolved_where_the_method_is(isolation, tmp_path):
    file = tmp_path / "noisy.py"
    file.write_text(NOISY)
    choices = [Choice(), Choice({}, "paper"), Choice({"noise": 0.1}, "paper")]
    found = isolation.describe(f"{file}:Noisy", choices)
    assert [(one.parameters["noise"], one.preset, one.changed) for one in found] == [
        (0.5, "", ()), (0.2, "paper", ("noise",)), (0.1, "", ("noise",)),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no preset 'papper'; did you mean 'paper'"):
        isolation.describe(f"{file}:Noisy", [Choice({}, "papper")])
