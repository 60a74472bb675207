"""A method's parameters: reading, checking and describing them."""

import dataclasses
import inspect
import tokenize
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean

from .discovery import MethodClass

if TYPE_CHECKING:
    from .problem import Method


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as `mubench show` prints it."""

    name: str
    type: str
    default: Any
    meaning: str  # the comment behind the field


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["lr=0.1", "last_step.epochs=3"]` as a mapping; a value is a TOML value, else a string.

    Raises:
        UserError: not `name=value`, or a name twice.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        *groups, name = (part.strip().replace("-", "_") for part in path.split("."))
        if not equals or not all((*groups, name)):
            raise UserError(f"--set {setting!r} is not name=value")
        place = parsed
        for group in groups:
            place = place.setdefault(group, {})
        if not isinstance(place, dict) or name in place:
            raise UserError(f"--set gives {path!r} twice")
        try:
            place[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            place[name] = text
    return parsed


def configure(method: MethodClass, settings: Mapping[str, Any]) -> "Method":
    """An instance of a method with parameters other than its defaults.

    Raises:
        UserError: an unknown parameter or a value that it does not take; all mistakes at once.
    """
    mistakes: list[str] = []
    known = _known(method.name, method.cls, settings, mistakes)
    try:
        instance = TypeAdapter(method.cls).validate_python(known)
    except ValidationError as error:
        mistakes += [
            f"{method.name}.{'.'.join(map(str, item['loc']))}: {item['msg']}, got {item['input']!r}"
            for item in error.errors()
        ]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return instance


def _known(
    label: str, cls: type[Any], settings: Mapping[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    """The settings that name a field, also inside a field that is itself a dataclass.

    Pydantic would silently drop the others.
    """
    fields = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    known = {}
    for name, value in settings.items():
        if name not in names:
            mistakes.append(f"{label} has no parameter {name!r}{did_you_mean(name, names)}")
        elif dataclasses.is_dataclass(fields[name]) and isinstance(value, dict):
            inner: Any = fields[name]
            known[name] = _known(f"{label}.{name}", inner, value, mistakes)
        else:
            known[name] = value
    return known


def resolved_parameters(method: "Method") -> dict[str, Any]:
    """Every parameter of an instance as a JSON value."""
    values: dict[str, Any] = TypeAdapter(type(method)).dump_python(method, mode="json")
    return values


def describe_parameters(cls: type[Any], group: str = "") -> list[Parameter]:
    """The parameters with type, default and the comment behind each field.

    Args:
        cls: a method, or a dataclass that is one of its parameters.
        group: what to put before the names, as in `last_step.`.
    """
    comments = _field_comments(cls)
    described = []
    for field in dataclasses.fields(cls):
        name, meaning = f"{group}{field.name}", comments.get(field.name, "")
        if dataclasses.is_dataclass(field.type) and isinstance(field.type, type):
            described += describe_parameters(field.type, f"{name}.")
        else:
            described.append(Parameter(name, _type_name(field.type), field.default, meaning))
    return described


def _type_name(annotation: Any) -> str:
    """`float > 0`, `'mlp' | 'logistic'`, `int >= 1 | None`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return " ".join([_type_name(arguments[0]), *(_bound(bound) for bound in arguments[1:])])
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_name, arguments))
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _bound(bound: Any) -> str:
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    given = [(sign, getattr(bound, name, None)) for name, sign in signs]
    return ", ".join(f"{sign} {value}" for sign, value in given if value is not None) or str(bound)


def _field_comments(cls: type[Any]) -> dict[str, str]:
    """Field name to the comment on its line, and on the comment-only lines that follow it."""
    try:
        lines = iter(inspect.getsource(cls).splitlines(keepends=True))
    except (OSError, TypeError):
        return {}
    comments: dict[str, str] = {}
    name, first_of_line = "", True
    for token in tokenize.generate_tokens(lambda: next(lines, "")):
        if token.type == tokenize.NAME and first_of_line:
            name = token.string
        if token.type == tokenize.COMMENT and name:
            text = token.string.lstrip("# ")
            comments[name] = f"{comments[name]} {text}" if name in comments else text
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            first_of_line = token.type == tokenize.NEWLINE
    return comments
