"""Presets: found, checked, put under settings, and named only where they are all there is."""

import dataclasses
from typing import ClassVar

import pytest

from mubench._util.errors import UserError
from mubench.method.discovery import MethodClass, load_method
from mubench.method.presets import Choice, choose, configure_choice, preset_settings, presets_of
from tests.helpers.methods import PLUGIN, method_class

PAPER = 'presets: ClassVar = {"paper": {"lr": 0.5, "inner": {"depth": 3}}, "same": {"lr": 0.1}}'

FILE = """
method = "my-method"
[settings]
lr = 0.25
[tuned]
epochs_equivalent = 12.5
task = "tiny@1"
"""


@pytest.fixture
def method(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.replace("    lr:", f"    {PAPER}\n    lr:"))
    return load_method(f"{file}:MyMethod")


@pytest.fixture
def preset_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    return str(file)


def told(method, choice):
    one = configure_choice(method, choice)
    return one.parameters["lr"], one.parameters["inner"]["depth"], one.preset, one.changed


def test_a_preset_replaces_defaults_and_settings_go_on_top(method):
    assert told(method, Choice()) == (0.1, 1, "", ())
    assert told(method, choose("default", {})) == (0.1, 1, "", ())
    assert told(method, choose("paper", {})) == (0.5, 3, "paper", ("inner.depth", "lr"))
    assert told(method, Choice({"inner": {"depth": 1}}, "paper")) == (0.5, 1, "", ("lr",))


def test_a_preset_is_named_if_its_values_are_all_there_is(method):
    assert told(method, Choice({"lr": 0.5}, "paper"))[2] == "paper"
    assert told(method, Choice({"lr": 0.6}, "paper"))[2] == ""
    assert told(method, Choice({}, "same")) == (0.1, 1, "same", ())


def test_a_file_is_a_preset_called_tuned(method, preset_file):
    assert told(method, choose(preset_file, {})) == (0.25, 1, "tuned", ("lr",))
    assert configure_choice(method, choose(preset_file, {})).tuning_epochs == 12.5
    on_top = configure_choice(method, choose(preset_file, {"lr": 1.0}))
    assert (on_top.preset, on_top.tuning_epochs) == ("", None)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("method", "methd", "method: Field required"),
        ("epochs_equivalent = 12.5", "", "epochs_equivalent: Field required"),
        ("lr = 0.25", "lr = 2026-01-01", "holds a date"),
        ("[settings]", "[settings", "is not TOML"),
    ],
)
def test_a_file_that_is_no_preset_says_why(preset_file, old, new, complaint, tmp_path):
    (tmp_path / "mine.toml").write_text(FILE.replace(old, new, 1))
    with pytest.raises(UserError, match=complaint):
        choose(preset_file, {})


def test_mistakes_are_told(method, preset_file):
    with pytest.raises(UserError, match="no preset 'papper'; did you mean 'paper'"):
        preset_settings(method, "papper")
    with pytest.raises(UserError, match="It has none"):
        preset_settings(load_method("original"), "paper")
    with pytest.raises(UserError, match="no file"):
        choose("nowhere.toml", {})
    with pytest.raises(UserError, match="for my-method, not for original"):
        configure_choice(load_method("original"), choose(preset_file, {}))


def test_a_parameter_called_preset_is_refused_where_a_preset_is_asked_for():
    method = method_class(lambda _: None, preset="x", __annotations__={"preset": str})
    assert configure_choice(method, Choice({"preset": "y"})).changed == ("preset",)
    with pytest.raises(UserError, match="has a parameter called preset"):
        configure_choice(method, Choice({}, "paper"))


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        (["paper"], "is no mapping"),
        ({"paper": 1}, "is no mapping of settings"),
        ({"Paper": {}}, "small letters"),
        ({"default": {}}, "neither default nor tuned"),
        ({"tuned": {}}, "neither default nor tuned"),
    ],
)
def test_presets_that_are_none_are_refused(declared, complaint):
    cls = type("Mine", (), {"presets": declared, "__annotations__": {"presets": ClassVar}})
    with pytest.raises(UserError, match=complaint):
        presets_of(dataclasses.dataclass(cls))


def test_without_defaults_all_parameters_are_changed():
    cls = dataclasses.make_dataclass("Mine", [("lr", float)], frozen=True, kw_only=True)
    cls.requires, cls.unlearn = frozenset({"forget"}), lambda self, problem: None
    assert configure_choice(MethodClass.of("mine", cls), Choice({"lr": 1.0})).changed == ("lr",)
