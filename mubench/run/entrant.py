"""Who is measured: a method that a user named, with its parameters."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mubench.method.discovery import MethodInfo, is_built_in, load_method
from mubench.method.presets import Choice, configure_choice
from mubench.method.problem import Method
from mubench.task.spec import Case

from .cell import Cell
from .isolation.host import Isolation


@dataclass(frozen=True)
class Entrant:
    """A method with its parameters, ready for any case and seed. The fields are those of `Cell`."""

    method: MethodInfo
    instance: Method | None = None
    preset: str = ""
    tuning_epochs: float | None = None

    @classmethod
    def named(cls, reference: str, choice: Choice, isolation: Isolation | None) -> "Entrant":
        """Finds a method by its name and gives it its parameters.

        Args:
            reference: a name, `./file.py:Class` or `module:Class`.
            choice: preset and settings.
            isolation: where the method is to run and to be looked at; None: this process.

        Raises:
            UserError: there is no such method, or it does not take these parameters.
        """
        if isolation:
            (described,) = isolation.describe(reference, [choice])
            return cls(described)
        method = load_method(reference)
        one = configure_choice(method, choice)
        return cls(method, one.instance, one.preset, one.tuning_epochs)

    def cells(self, cases: Iterable[Case], seeds: Iterable[int]) -> list[Cell]:
        """A cell per case and seed, case by case."""
        return [
            Cell(case, self.method, self.instance, seed, self.preset, self.tuning_epochs)
            for case, seed in product(cases, seeds)
        ]


def is_walled(reference: str, isolate: bool | None) -> bool:
    """True if a method is to run in a process of its own.

    Args:
        reference: how the method is named.
        isolate: what the user wants. None: a process of its own, unless it comes with mubench.
    """
    return not is_built_in(reference) if isolate is None else isolate


def isolation_for(
    reference: str, isolate: bool | None, results: Path
) -> AbstractContextManager[Isolation | None]:
    """What walls a method in while it is measured; it must be entered.

    Args:
        reference: how the method is named.
        isolate: as in `is_walled`.
        results: folder of records, which an isolated method must not reach.
    """
    return Isolation([results]) if is_walled(reference, isolate) else nullcontext()
