"""Finding methods and setting their parameters.

Names are listed from package metadata without importing anything; only the method that is asked for
is imported, so a broken plugin hurts nobody else. The core knows no method by name.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import sys
import tokenize
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from .errors import UserError
from .source import source_files, source_sha
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .problem import Method

METHODS_GROUP = "mubench.methods"


@dataclass(frozen=True)
class MethodClass:
    """A method that was found and imported."""

    name: str
    cls: "type[Method]"
    distribution: str | None  # None: not installed, a file or a module of the user's
    version: str | None
    source_sha: str  # SHA-256 of the source it is made of
    files: tuple[Path, ...] = ()  # that source

    @property
    def requires(self) -> frozenset[str]:
        """The access it declares."""
        return self.cls.requires

    @property
    def is_control(self) -> bool:
        """Whether it stands in the tables without ever being ranked."""
        from .problem import GOLD_LABELS

        return GOLD_LABELS in self.requires or bool(getattr(self.cls, "control", False))

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as `mubench show` prints it."""

    name: str
    type: str
    default: Any
    meaning: str  # the comment behind the field


def available_methods() -> dict[str, list[EntryPoint]]:
    """All installed methods, by name and without importing: usually one entry point each.

    More than one means that several distributions claim the name; `load_method` then refuses it.
    """
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=METHODS_GROUP):
        # An editable install can show one distribution twice.
        found.setdefault(entry.name, {})[(_distribution(entry), entry.value)] = entry
    return {name: list(found[name].values()) for name in sorted(found)}


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def _packages(entry: EntryPoint) -> set[str]:
    """The top-level names of the packages and modules that an entry point's distribution brings."""
    text = (entry.dist.read_text("top_level.txt") or "") if entry.dist else ""
    listed = (entry.dist.files or []) if entry.dist else []
    files = {file.parts[0].removesuffix(".py") for file in listed if file.suffix == ".py"}
    return {name for name in (*text.split(), *files) if name.isidentifier()}


def load_method(reference: str) -> MethodClass:
    """Imports a method.

    Args:
        reference: an installed method's name, `package.module:Class`, or `./file.py:Class`.

    Raises:
        UserError: there is no such method, several distributions claim its name, it cannot be
            imported, or it is not a method; the message says what to do.
    """
    if ":" in reference:
        location, _, class_name = reference.rpartition(":")
        module = _import(location, reference)
        if not hasattr(module, class_name):
            near = did_you_mean(class_name, [n for n in vars(module) if n[:1].isupper()])
            raise UserError(f"{location} has no class {class_name!r}{near}")
        cls = _checked(getattr(module, class_name), reference)
        files = tuple(source_files(cls))
        return MethodClass(slug(class_name), cls, None, None, source_sha(files), files)
    installed = available_methods()
    if reference not in installed:
        raise UserError(
            f"unknown method {reference!r}{did_you_mean(reference, installed)} "
            "`mubench list methods` names those installed; a file is named ./file.py:Class."
        )
    entries = installed[reference]
    if len(entries) > 1:
        claims = " and ".join(f"{_distribution(e)} ({e.value})" for e in entries)
        raise UserError(f"method {reference!r} is claimed by {claims}: uninstall one of them")
    (entry,) = entries
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(
            f"method {reference!r} of {_distribution(entry)} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    cls = _checked(loaded, reference)
    version = entry.dist.version if entry.dist else None
    files = tuple(source_files(cls, _packages(entry)))
    return MethodClass(reference, cls, _distribution(entry), version, source_sha(files), files)


def _import(location: str, reference: str) -> ModuleType:
    try:
        if not location.endswith(".py"):
            return importlib.import_module(location)
        path = Path(location).resolve()
        if not path.is_file():
            raise UserError(f"there is no file {location} for method {reference!r}")
        name = f"mubench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"method {reference!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _checked(cls: Any, reference: str) -> "type[Method]":
    from .problem import ACCESS, GOLD_LABELS  # here, as torch comes with it: listing needs none

    problem = None
    requires = getattr(cls, "requires", None)
    if not inspect.isclass(cls) or not dataclasses.is_dataclass(cls):
        problem = "is not a dataclass"
    elif not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        problem = "is not frozen: write @dataclass(frozen=True, kw_only=True)"
    elif not callable(getattr(cls, "unlearn", None)):
        problem = "has no unlearn(self, problem)"
    elif not isinstance(requires, frozenset):
        problem = 'declares no access: requires: ClassVar[frozenset[str]] = frozenset({"forget"})'
    else:
        known = ACCESS | {GOLD_LABELS}
        for name in sorted(requires - known):
            problem = f"requires unknown access {name!r}{did_you_mean(name, known)}"
    if problem:
        raise UserError(f"method {reference!r} {problem}")
    checked: type[Method] = cls
    return checked


def slug(class_name: str) -> str:
    """`GradientAscent` -> `gradient-ascent`."""
    out = "".join(
        f"-{c.lower()}" if c.isupper() and i and not class_name[i - 1].isupper() else c.lower()
        for i, c in enumerate(class_name)
    )
    return out.replace("_", "-")


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
