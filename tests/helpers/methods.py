"""Methods for tests: from a function, from a text, and those that misbehave."""

import dataclasses
from typing import Any, ClassVar

from mubench.method.discovery import MethodClass
from tests.helpers.places import BAD_PLUGINS

PLUGIN = '''
"""A plugin."""
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from annotated_types import Gt

@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 1  # how deep

@dataclass(frozen=True, kw_only=True)
class MyMethod:
    """Does a thing (arXiv:1).

    More words.
    """
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    lr: Annotated[float, Gt(0)] = 0.1  # step size
    mode: Literal["a", "b"] = "a"  # which way,
    # told on two lines
    epochs: int | None = None
    inner: Inner = Inner()

    def unlearn(self, problem):
        return problem.original
'''


def method_class(unlearn, requires=("forget",), name="mine", **extra: Any):
    """A method from a function, as if it had been found in a file."""
    body = {
        "requires": frozenset(requires),
        "unlearn": lambda self, problem: unlearn(problem),
        "__annotations__": {"requires": ClassVar[frozenset[str]]},
        **extra,
    }
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(type("Mine", (), body))
    return MethodClass.of(name, cls)


def bad(name: str) -> str:
    return f"{BAD_PLUGINS / name}.py:Bad"
