"""What a method is made of: the files that make its results, and the hash that names them.

A method is its own file and the modules of its own distribution that it imports, directly or not.
Another method of the same distribution is no part of it, so editing that one changes nothing here.
"""

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HARNESS = __name__.partition(".")[0]  # has an identity of its own in every record


def source_files(cls: type[Any], packages: Iterable[str] = ()) -> list[Path]:
    """The files that a class is made of, sorted by path.

    Args:
        cls: a method.
        packages: the top-level names that its distribution brings, besides that of its module.
    """
    own = {cls.__module__.partition(".")[0], *packages} - {HARNESS}
    found = {cls.__module__: Path(inspect.getfile(cls))}
    waiting = list(_imports(cls.__module__, found[cls.__module__]))
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in own:
            continue
        if file := _file(name):
            found[name] = file
            waiting += _imports(name, file)
    return sorted(found.values())


def source_sha(files: Iterable[Path]) -> str:
    """SHA-256 of source files, whatever they are called."""
    sources = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)
    return hashlib.sha256(sources).hexdigest()


def _file(name: str) -> Path | None:
    """Where a module's code is; None for what is no module, such as a function."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
        return Path(file) if file else None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # its parent is no package
        return None
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _imports(name: str, file: Path) -> Iterator[str]:
    """The names that a module may import, wherever in it, and the packages above it and them."""
    yield from _parents(name)
    if file.suffix != ".py":
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from (base, *_parents(base), *(f"{base}.{alias.name}" for alias in node.names))


def _parents(name: str) -> list[str]:
    """`["a.b", "a"]` for `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
