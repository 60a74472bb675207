"""A method's parameters: settings read, checked, told back and described."""

import inspect
from dataclasses import dataclass
from typing import Literal

import pytest

from mubench._util.errors import UserError
from mubench.method.discovery import available_methods, load_method
from mubench.method.parameters import (
    configure,
    describe_parameters,
    parse_settings,
    resolved_parameters,
)
from tests.helpers.methods import PLUGIN


def test_settings_are_toml_values_else_strings():
    assert parse_settings(["lr=1e-3", "n=3", "on=true", "mode=cosine", "xs=[1, 2]"]) == {
        "lr": 1e-3, "n": 3, "on": True, "mode": "cosine", "xs": [1, 2],
    }  # fmt: skip
    assert parse_settings(["inner.depth=2", "inner.name=x", "a-b=1"]) == {
        "inner": {"depth": 2, "name": "x"},
        "a_b": 1,
    }


@pytest.mark.parametrize(
    "settings", [["lr"], ["=1"], ["lr=1", "lr=2"], ["a=1", "a.b=2"], ["a=1", "a.b.c=2"]]
)
def test_settings_that_say_nothing_or_two_things_are_refused(settings):
    with pytest.raises(ValueError, match="--set"):
        parse_settings(settings)


def test_parameters_round_trip(plugin):
    instance = configure(plugin, {"lr": "1e-3", "mode": "b", "inner": {"depth": 4}})
    assert resolved_parameters(instance) == {
        "lr": 0.001, "mode": "b", "epochs": None, "inner": {"depth": 4},
    }  # fmt: skip
    assert configure(plugin, resolved_parameters(instance)) == instance


def test_all_mistakes_in_parameters_come_at_once(plugin):
    settings = {"lrr": 1, "lr": -1, "mode": "c", "inner": {"dpeth": 1}}
    with pytest.raises(ValueError, match="no parameter") as caught:
        configure(plugin, settings)
    message = str(caught.value)
    assert "my-method has no parameter 'lrr'; did you mean 'lr'?" in message
    assert "my-method.lr: Input should be greater than 0, got -1" in message
    assert "my-method.mode" in message
    assert "my-method.inner has no parameter 'dpeth'; did you mean 'depth'?" in message


def test_parameters_are_described_by_their_comments(plugin):
    rows = {p.name: p for p in describe_parameters(plugin.cls)}
    assert rows["lr"].type == "float > 0"
    assert rows["lr"].meaning == "step size"
    assert rows["mode"].meaning == "which way, told on two lines"
    assert rows["mode"].type == "'a' | 'b'"
    assert rows["epochs"].type == "int | None"
    assert (rows["inner.depth"].default, rows["inner.depth"].meaning) == (1, "how deep")


@dataclass(frozen=True, kw_only=True)
class Shared:
    lr: float = 0.1  # step size
    names: tuple[Literal["a", "b"], ...] = ()  # which
    epochs: int = 1  # passes


@dataclass(frozen=True, kw_only=True)
class Own(Shared):
    epochs: int = 2  # passes, but two


def test_a_shared_class_of_parameters_keeps_its_comments():
    rows = {p.name: (p.default, p.meaning) for p in describe_parameters(Own)}
    assert rows["lr"] == (0.1, "step size")
    assert rows["epochs"] == (2, "passes, but two")


def test_a_list_is_described_by_what_it_holds():
    types = {p.name: p.type for p in describe_parameters(Own)}
    assert types["names"] == "tuple of 'a' | 'b'"


@pytest.mark.parametrize("name", sorted(available_methods()))
def test_every_builtin_parameter_has_a_meaning(name):
    method = load_method(name)
    assert (inspect.getdoc(method.cls) or "").partition("\n")[0]
    for parameter in describe_parameters(method.cls):
        assert parameter.meaning, f"{name}.{parameter.name}"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr": float("inf")}, r"MyMethod\.lr is inf, which no record can hold"),
        ({"lr": 10**400}, "my-method.lr"),
        ({"inner": {"depth": float("nan")}}, "my-method.inner.depth"),
    ],
)
def test_a_number_that_no_record_can_hold_is_refused(plugin, settings, expected):
    with pytest.raises(UserError, match=expected):
        resolved_parameters(configure(plugin, settings))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("lr: object() = 1", "a type that cannot be checked"),
        ("lr: 'Later' = 1", "'Later' is not defined"),
        ("lr: list[float] = (float('inf'),)", r"MyMethod\.lr\.0 is inf"),
        ("lr: int = frozenset({float('nan')})", r"MyMethod\.lr\.0 is nan"),
    ],
)
def test_a_field_that_no_record_can_hold_is_refused(tmp_path, new, expected):
    old = "lr: Annotated[float, Gt(0)] = 0.1"
    assert old in PLUGIN
    (tmp_path / "bad.py").write_text(PLUGIN.replace(old, new))
    method = load_method(f"{tmp_path / 'bad.py'}:MyMethod")
    with pytest.raises(UserError, match=expected):
        resolved_parameters(configure(method, {}))


def test_a_text_that_only_begins_with_a_value_is_a_text():
    assert parse_settings(["mode=1\nlr=2"]) == {"mode": "1\nlr=2"}
    with pytest.raises(UserError, match="nests too deep"):
        parse_settings(["x=" + "[" * 2000])
