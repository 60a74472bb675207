"""The file that a search leaves: a preset, and on what it was tuned."""

import json
from collections.abc import Mapping
from typing import Any

from mubench._util.errors import UserError


def preset_toml(method: str, settings: Mapping[str, Any], tuned: Mapping[str, Any]) -> str:
    """A preset file as TOML.

    Args:
        method: name of the method.
        settings: values by name, nested.
        tuned: how the settings were found.

    Raises:
        UserError: a value has no form in TOML, which None has not.
    """
    lines = ["# Written by `mubench tune`; for --preset.", f"method = {_value(method)}", ""]
    lines += [*_table("settings", settings), *_table("tuned", tuned)]
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in plain.items()), ""]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _table(f"{name}.{key}", value)
    return lines


def _value(value: object) -> str:
    if value is None or isinstance(value, dict):
        raise UserError(f"{value!r} has no form in TOML, so no preset file can hold it")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
