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
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean

from .source import source_files, source_sha

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
        from .access import GOLD_LABELS

        return GOLD_LABELS in self.requires or bool(getattr(self.cls, "control", False))

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]


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
    from .access import ACCESS, GOLD_LABELS  # here, as torch comes with it: listing needs none

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
