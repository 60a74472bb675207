"""Finding methods: by an installed name, in a file, or in a module.

Names are listed from package metadata without importing anything. Only the method that is asked for
is imported, so a broken plugin hurts nobody else. The core knows no method by name.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean, error_line

from .access import ACCESS, GOLD_ACCESS
from .source import HARNESS, source_files, source_sha

if TYPE_CHECKING:
    from .problem import Method


METHODS_GROUP = "mubench.methods"
"""The entry points that name methods."""

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""What the name of a method looks like, such as `gentle-ascent`."""


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """What a record says of a method, under the record's own field names."""

    name: str
    """The record calls this field `method`."""
    distribution: str | None
    """The package that the method came in. None: a file or module of the user's."""
    distribution_version: str | None
    """The version of that package."""
    source_sha256: str
    """SHA-256 of the source that the method is made of."""
    requires: frozenset[str]
    """The access that the method declares."""
    control: bool
    """True if the method stands in the tables without ever being ranked."""

    @property
    def code(self) -> tuple[str | None, str | None, str]:
        """The distribution, its version, and the SHA-256 of the source."""
        return self.distribution, self.distribution_version, self.source_sha256


@dataclass(frozen=True, kw_only=True)
class MethodClass(MethodInfo):
    """A method that was found and imported."""

    cls: "type[Method]"
    files: tuple[Path, ...] = ()
    """The source that the method is made of."""

    @classmethod
    def of(
        cls,
        name: str,
        method: "type[Method]",
        files: Iterable[Path] = (),
        distribution: str | None = None,
        version: str | None = None,
    ) -> "MethodClass":
        """A method by its class.

        Args:
            name: what to call the method.
            method: the class.
            files: the source that the method is made of.
            distribution: the package that the method came in, if any.
            version: the version of that package.
        """
        files = tuple(files)
        return cls(
            name=name,
            cls=method,
            files=files,
            distribution=distribution,
            distribution_version=version,
            source_sha256=source_sha(files),
            requires=method.requires,
            control=bool(GOLD_ACCESS & method.requires or getattr(method, "control", False)),
        )


def available_methods() -> dict[str, list[EntryPoint]]:
    """All installed methods, by name and without importing any: usually one entry point each.

    If several distributions claim a name, it has several; `load_method` then refuses the name.
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


def is_built_in(reference: str) -> bool:
    """True if a reference names a method that comes with the harness; nothing is imported."""
    entries = available_methods().get(reference, [])
    return bool(entries) and all(_distribution(entry) == HARNESS for entry in entries)


def load_method(
    reference: str, importing: AbstractContextManager[object] | None = None
) -> MethodClass:
    """Imports a method.

    Args:
        reference: an installed method's name, `package.module:Class`, or `./file.py:Class`.
        importing: entered before the method's code is run by the import.

    Raises:
        UserError: there is no such method, several distributions claim its name, it cannot be
            imported, or it is not a method; the message says what to do.
    """
    importing = importing or nullcontext()
    if ":" in reference:
        location, _, class_name = reference.rpartition(":")
        with importing:
            module = _import(location, reference)
        if not hasattr(module, class_name):
            near = did_you_mean(class_name, [n for n in vars(module) if n[:1].isupper()])
            raise UserError(f"{location} has no class {class_name!r}{near}")
        cls = _checked(getattr(module, class_name), reference)
        return MethodClass.of(slug(class_name), cls, _files_of(cls))
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
        with importing:
            loaded = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's code, which may also want to exit
        raise UserError(
            f"method {reference!r} of {_distribution(entry)} cannot be imported: "
            f"{error_line(error)}"
        ) from error
    cls = _checked(loaded, reference)
    version = entry.dist.version if entry.dist else None
    files = source_files(cls, _packages(entry))
    return MethodClass.of(reference, cls, files, _distribution(entry), version)


def method_of(instance: "Method") -> MethodClass:
    """The method of an instance: under the installed name of its class, if that has one.

    Raises:
        UserError: the instance is no method, or its class is in no file, so nothing could tell
            later which code was measured.
    """
    cls = _checked(type(instance), type(instance).__name__)
    location = f"{cls.__module__}:{cls.__qualname__}"
    for name, entries in available_methods().items():
        if any(entry.value == location for entry in entries):
            return load_method(name)
    return MethodClass.of(slug(cls.__name__), cls, _files_of(cls))


def _files_of(cls: "type[Method]") -> list[Path]:
    try:
        return source_files(cls)
    except (OSError, TypeError):
        raise UserError(
            f"the class {cls.__name__} is in no file: save it and import it, or name it "
            f"./file.py:{cls.__name__}"
        ) from None


def _import(location: str, reference: str) -> ModuleType:
    try:
        if not location.endswith(".py"):
            return importlib.import_module(location)
        if not Path(location).is_file():
            raise UserError(f"there is no file {location!r} for method {reference!r}")
        path = Path(location).resolve()
        name = f"mubench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's code, which may also want to exit
        raise UserError(f"method {reference!r} cannot be imported: {error_line(error)}") from error


def _checked(cls: Any, reference: str) -> "type[Method]":
    complaint = None
    requires = getattr(cls, "requires", None)
    if not inspect.isclass(cls) or not dataclasses.is_dataclass(cls):
        complaint = "is not a dataclass"
    elif not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        complaint = "is not frozen: write @dataclass(frozen=True, kw_only=True)"
    elif not callable(getattr(cls, "unlearn", None)):
        complaint = "has no unlearn(self, problem)"
    elif not isinstance(requires, frozenset):
        complaint = 'declares no access: requires: ClassVar[frozenset[str]] = frozenset({"forget"})'
    else:
        known = ACCESS | GOLD_ACCESS
        for name in sorted(requires - known, key=repr):
            complaint = f"requires unknown access {name!r}{did_you_mean(str(name), known)}"
    if complaint:
        raise UserError(f"method {reference!r} {complaint}")
    checked: type[Method] = cls
    return checked


def slug(class_name: str) -> str:
    """`GradientAscent` -> `gradient-ascent`."""
    out = "".join(
        f"-{c.lower()}" if c.isupper() and i and not class_name[i - 1].isupper() else c.lower()
        for i, c in enumerate(class_name)
    )
    return out.replace("_", "-")
