"""The parameters of a method: read from text, checked, and described.

*Settings* are the values that a user gives, by name. *Parameters* are the values of all fields of a
method, defaults included. A field may declare where its best value is looked for:

    lr: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 0.01
    loss: Annotated[Literal["ce", "kl"], Search(choices=("ce", "kl"))] = "ce"
"""

import dataclasses
import inspect
import math
import tokenize
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean, error_line

from .discovery import MethodClass

if TYPE_CHECKING:
    from .problem import Method


@dataclass(frozen=True)
class Search:
    """Where `mubench tune` looks for a parameter's best value: a range, or some choices."""

    low: float | None = None
    """Least value."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """True if values are drawn evenly in their logarithm."""
    step: float | None = None
    """Distance of neighbouring values. None: any value of the range."""
    choices: tuple[Any, ...] = ()
    """The values, instead of a range."""

    def __post_init__(self) -> None:
        if complaint := self._complaint():
            raise UserError(f"{self!r}: {complaint}")

    def __str__(self) -> str:
        """The search as `mubench show` prints it, such as `0.0001 to 0.1, log`."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        step = f", step {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{', log' * self.log}{step}"

    def _complaint(self) -> str | None:
        """What is wrong with the range, or None."""
        bounds = (self.low, self.high, self.step)
        if self.choices:
            if bounds != (None, None, None) or self.log:
                return "give a range or choices, not both"
            if not all(isinstance(one, bool | int | float | str) for one in self.choices):
                return "choices are numbers, texts, True or False"
            return "choices need at least two values" if len(self.choices) == 1 else None
        if self.low is None or self.high is None:
            return "give low and high, or choices"
        if not self.low < self.high:
            return "low must be below high"
        if self.log and not self.low > 0:
            return "a logarithmic range needs low above zero"
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            return "step must be above zero, within the range, and without log"
        return None


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as `mubench show` prints it."""

    name: str  # such as `lr`, or `last_step.lr` for a field of a nested dataclass
    type: str  # such as `float > 0`
    default: Any
    meaning: str  # the comment behind the field; empty if there is none
    search: Search | None = None  # where `mubench tune` looks for its best value, if anywhere


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Reads settings such as `["lr=0.1", "last_step.epochs=3"]`.

    Returns:
        Nested mapping of names to values. Text that is no TOML value becomes a string.

    Raises:
        UserError: a setting is not `name=value`, is a date, or a name is given twice.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        *groups, name = (part.strip().replace("-", "_") for part in path.split("."))
        if not equals or not all((*groups, name)):
            raise UserError(f"--set {setting!r} is not name=value")
        place = parsed
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else place
        if not isinstance(place, dict) or name in place:
            raise UserError(f"--set gives {path!r} twice")
        place[name] = _value(text, setting)
        if holds_date(place[name]):
            raise UserError(
                f"--set {setting!r} holds a date or a time: write it as text, in quotes"
            )
    return parsed


def holds_date(value: object) -> bool:
    """True if a TOML value is a date or a time, or holds one: no other value of TOML is no JSON."""
    if isinstance(value, dict):
        return any(map(holds_date, value.values()))
    if isinstance(value, list):
        return any(map(holds_date, value))
    return isinstance(value, date | time)


def _value(text: str, setting: str) -> Any:
    """The TOML value of a text; the text itself if it is none."""
    try:
        content = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    except RecursionError:
        raise UserError(f"--set {setting[:20]}... nests too deep") from None
    return content["value"] if list(content) == ["value"] else text


def configure(method: MethodClass, settings: Mapping[str, Any]) -> "Method":
    """Makes an instance of a method. The settings replace its defaults.

    Raises:
        UserError: a parameter is unknown or does not take its value. The message lists all
            mistakes.
    """
    mistakes: list[str] = []
    adapter = _adapter(method)
    known = _known(method.name, method.cls, settings, mistakes)
    try:
        instance = adapter.validate_python(known)
    except ValidationError as error:
        mistakes += [
            f"{'.'.join([method.name, *map(str, item['loc'])])}: {item['msg']}, "
            f"got {item['input']!r}"
            for item in error.errors()
        ]
    except Exception as error:  # such as in the method's __post_init__
        mistakes.append(f"{method.name} does not take its parameters: {error_line(error)}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return instance


def _adapter(method: MethodClass) -> "TypeAdapter[Method]":
    """What checks the parameters of a method.

    Raises:
        UserError: a parameter has a type that cannot be checked.
    """
    try:
        typing.get_type_hints(method.cls)
        return TypeAdapter(method.cls)
    except Exception as error:  # annotations are a stranger's code
        raise UserError(
            f"method {method.name!r} has a parameter of a type that cannot be checked: "
            f"{error_line(error)}; use int, float, str, bool, None, lists, and dataclasses of these"
        ) from None


def _unrecordable(label: str, value: object) -> list[str]:
    """A line for each number in a value that no record can hold: NaN and infinity.

    Args:
        label: name of the value in the lines.
        value: what pydantic makes of the parameters.
    """
    if isinstance(value, dict):
        return [line for name, v in value.items() for line in _unrecordable(f"{label}.{name}", v)]
    if isinstance(value, list | tuple | set | frozenset):
        return [line for i, v in enumerate(value) for line in _unrecordable(f"{label}.{i}", v)]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{label} is {value}, which no record can hold: use a finite number, or None"]
    return []


def _known(
    label: str, cls: type[Any], settings: Mapping[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    """The settings that name a field of `cls`, also inside fields that are dataclasses.

    Every other setting is reported as a mistake. Otherwise pydantic would silently drop it.

    Args:
        label: name of the method, or of the field, in messages.
        cls: the dataclass whose fields are known.
        settings: values by name.
        mistakes: messages are appended here.
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
    """All parameters of a method's instance as JSON values, by name; nested for dataclasses.

    Raises:
        UserError: a parameter has a value that no record can hold, such as NaN.
    """
    name, adapter = type(method).__name__, TypeAdapter(type(method))
    # Looked at before they are JSON, where NaN can become null. No warnings: a default may be of
    # another type than its field.
    if lines := _unrecordable(name, adapter.dump_python(method, warnings="none")):
        raise UserError("\n".join(lines))
    try:
        values: dict[str, Any] = adapter.dump_python(method, mode="json", warnings="none")
    except PydanticSerializationError as error:
        raise UserError(f"no record can hold the parameters of {name}: {error}") from None
    return values


def describe_parameters(cls: type[Any], group: str = "") -> list[Parameter]:
    """The parameters of a method, each with type, default and the comment behind its field.

    Args:
        cls: the class of a method, or of a dataclass that is one of its parameters.
        group: prefix of the names, such as `last_step.`.
    """
    comments: dict[str, str] = {}
    for base in reversed(cls.__mro__):  # fields may come from a class that several methods share
        comments |= _field_comments(base) if dataclasses.is_dataclass(base) else {}
    described = []
    for field in dataclasses.fields(cls):
        name, meaning = f"{group}{field.name}", comments.get(field.name, "")
        if dataclasses.is_dataclass(field.type) and isinstance(field.type, type):
            described += describe_parameters(field.type, f"{name}.")
        else:
            search = _search(field.type)
            type_name = _type_name(field.type)
            described.append(Parameter(name, type_name, field.default, meaning, search))
    return described


def _search(annotation: Any) -> Search | None:
    """Where to look for the best value, also of a type such as `Annotated[...] | None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        found = [one for one in annotation.__metadata__ if isinstance(one, Search)]
        return found[0] if found else None
    inner = map(_search, typing.get_args(annotation))
    return next((search for search in inner if search), None)


def _type_name(annotation: Any) -> str:
    """A type as readable text: `float > 0`, `'mlp' | 'logistic'`, `int >= 1 | None`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [_bound(bound) for bound in arguments[1:] if not isinstance(bound, Search)]
        return " ".join([_type_name(arguments[0]), *bounds])
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_name, arguments))
    if origin in (list, tuple):
        inner = ", ".join(_type_name(argument) for argument in arguments if argument is not ...)
        return f"{origin.__name__} of {inner}"
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _bound(bound: Any) -> str:
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    given = [(sign, getattr(bound, name, None)) for name, sign in signs]
    return ", ".join(f"{sign} {value}" for sign, value in given if value is not None) or str(bound)


def _field_comments(cls: type[Any]) -> dict[str, str]:
    """Field name to the comment on its line and on the comment lines that follow."""
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
