"""What the parts of TMU cost, told in a line at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from mubench import Problem


class Parts:
    """Cost of each part of a run, in passes over D."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._costs: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what is done inside the context."""
        before = self._problem.samples_spent
        yield
        spent = self._problem.samples_spent - before
        num_train = len(self._problem.forget) + len(self._problem.retain)
        self._costs[name] = spent / num_train

    def __str__(self) -> str:
        costs = ", ".join(f"{name} {cost:.2f}" for name, cost in self._costs.items())
        return f"tmu: cost in passes over D: {costs}"
