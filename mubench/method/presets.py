"""Presets: settings under a name, such as the values that a paper has.

A class declares its presets as `presets: ClassVar = {"paper": {"lr": 0.01}}`. A file that `mubench
tune` wrote is a preset too, called `tuned`. `default` names the defaults.

On a record, a preset is named only if its values are all there is: whoever sets something on top
has other parameters.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean
from mubench._util.toml import read_model
from mubench.record.schema import dotted

from .discovery import SLUG, MethodClass
from .parameters import configure, holds_date, resolved_parameters

if TYPE_CHECKING:
    from .problem import Method

DEFAULT, TUNED = "default", "tuned"
"""Names that no class can give to a preset: the defaults, and what a file of `mubench tune` has."""


@dataclass(frozen=True)
class Choice:
    """How a user wants a method: a preset, and settings on top of it. It can be JSON."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by name, which replace those of the preset."""
    preset: str = ""
    """Name of the preset. Empty: the defaults."""
    base: Mapping[str, Any] | None = None
    """The settings of a preset that lies in a file. None: the method's class has the preset."""
    made_for: str | None = None
    """The method that such a file is for."""
    tuning_epochs: float | None = None
    """What the search for such a file's settings cost, in epochs-equivalent."""


@dataclass(frozen=True)
class Configured:
    """An instance of a method, and what a record says of its parameters."""

    instance: "Method"
    parameters: dict[str, Any]
    """All of them, defaults included."""
    preset: str
    """Name of the preset that the parameters are of. Empty: of none, or settings are on top."""
    tuning_epochs: float | None
    """What the search for a tuned preset cost, in epochs-equivalent."""
    changed: tuple[str, ...]
    """Dotted names of the parameters that are not at their defaults."""


class Tuning(BaseModel):
    """On what settings were tuned, and what that cost."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    epochs_equivalent: float
    """Cost of the whole search: of all trials, and of the models that were trained for it."""


class PresetFile(BaseModel):
    """A preset as a file, which `mubench tune` writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    """Name of the method."""
    settings: dict[str, Any]
    """Values by name, as `configure` takes them."""
    tuned: Tuning
    """How the settings were found."""


def choose(preset: str, settings: Mapping[str, Any]) -> Choice:
    """A choice as a user gives it.

    Args:
        preset: a name, the path of a preset file, or nothing.
        settings: values on top, by name.

    Raises:
        UserError: there is no such file, or it is no preset.
    """
    if not preset.endswith(".toml"):
        return Choice(settings, "" if preset == DEFAULT else preset)
    read = read_model(PresetFile, Path(preset), preset)
    if holds_date(read.settings):
        raise UserError(f"{preset} holds a date or a time: write it as text, in quotes")
    cost = read.tuned.epochs_equivalent
    return Choice(settings, TUNED, read.settings, made_for=read.method, tuning_epochs=cost)


def presets_of(cls: type[Any]) -> dict[str, Mapping[str, Any]]:
    """The presets that a class declares: name to settings.

    Raises:
        UserError: what the class declares is no mapping of names to settings.
    """
    if "presets" in [one.name for one in dataclasses.fields(cls)]:
        return {}  # a parameter of that name
    declared = getattr(cls, "presets", {})
    if not isinstance(declared, Mapping):
        raise UserError(f"presets of {cls.__name__} is no mapping of names to settings")
    for name, settings in declared.items():
        if not (isinstance(name, str) and SLUG.fullmatch(name)) or name in (DEFAULT, TUNED):
            raise UserError(
                f"{cls.__name__} has a preset {name!r}: name it like paper, in small letters, and "
                f"neither {DEFAULT} nor {TUNED}"
            )
        if not isinstance(settings, Mapping):
            raise UserError(f"preset {name!r} of {cls.__name__} is no mapping of settings")
    return dict(declared)


def preset_settings(method: MethodClass, name: str) -> Mapping[str, Any]:
    """The settings of a preset that a method's class declares.

    Raises:
        UserError: there is no such preset, or the method has a parameter called `preset`.
    """
    cls: Any = method.cls
    presets = presets_of(cls)
    if "preset" in [one.name for one in dataclasses.fields(cls)]:
        raise UserError(
            f"{method.name} has a parameter called preset, which is not to be told from a preset: "
            "rename the parameter"
        )
    if name not in presets:
        has = f"It has {', '.join(presets)}." if presets else "It has none."
        raise UserError(
            f"{method.name} has no preset {name!r}{did_you_mean(name, [*presets, DEFAULT])} {has}"
        )
    return presets[name]


def chosen_settings(method: MethodClass, choice: Choice) -> Mapping[str, Any]:
    """The settings of the preset that a user wants, without those on top.

    Raises:
        UserError: there is no such preset, or it is another method's.
    """
    if choice.base is not None:
        if choice.made_for != method.name:
            raise UserError(f"the preset is for {choice.made_for}, not for {method.name}")
        return choice.base
    return preset_settings(method, choice.preset) if choice.preset else {}


def instance_of(method: MethodClass, choice: Choice) -> "Method":
    """An instance of a method as a user wants it.

    Raises:
        UserError: there is no such preset, it is another method's, or a parameter is unknown or
            does not take its value.
    """
    return configure(method, _on_top(chosen_settings(method, choice), choice.settings))


def configure_choice(method: MethodClass, choice: Choice) -> Configured:
    """An instance of a method as a user wants it, and what a record says of it.

    Raises:
        UserError: as `instance_of`, or a parameter has a value that no record can hold.
    """
    instance, base = instance_of(method, choice), chosen_settings(method, choice)
    parameters = resolved_parameters(instance)
    is_preset = bool(choice.preset) and (
        not choice.settings or parameters == resolved_parameters(configure(method, base))
    )
    return Configured(
        instance,
        parameters,
        choice.preset if is_preset else "",
        choice.tuning_epochs if is_preset else None,
        changed_parameters(instance, parameters),
    )


def changed_parameters(instance: "Method", parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Dotted names of the parameters that are not at their defaults.

    Args:
        instance: of the method.
        parameters: all of them, as `resolved_parameters` gives them.
    """
    own = dotted(parameters)
    try:
        usual = dotted(resolved_parameters(type(instance)()))
    except Exception:  # a parameter has no default, or a stranger's code refuses the defaults
        return tuple(sorted(own))
    names = sorted(own.keys() | usual.keys())
    return tuple(n for n in names if (n in own, own.get(n)) != (n in usual, usual.get(n)))


def _on_top(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings on top of others, also inside nested ones."""
    merged = dict(base)
    for name, value in settings.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _on_top(below, value)
        merged[name] = value
    return merged
