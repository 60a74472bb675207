"""mubench: a benchmark and leaderboard harness for machine unlearning of image classifiers.

The public names are importable from here; anything else is private by agreement, apart from
`mubench.checks`. Names are loaded on first use, so that listing and help import no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board.table import leaderboard
    from .method.parameters import Search
    from .method.problem import AccessError, Method, Problem
    from .record.check import read_results
    from .record.schema import Record
    from .run.notebook import measure
    from .task.data import Samples
    from .task.installed import load_task
    from .task.spec import Case, Task
    from .training.loop import Batch, Diverged

__version__ = version("mubench")

_HOMES = {
    "AccessError": "method.problem",
    "Batch": "training.loop",
    "Case": "task.spec",
    "Diverged": "training.loop",
    "Method": "method.problem",
    "Problem": "method.problem",
    "Record": "record.schema",
    "Samples": "task.data",
    "Search": "method.parameters",
    "Task": "task.spec",
    "leaderboard": "board.table",
    "load_task": "task.installed",
    "measure": "run.notebook",
    "read_results": "record.check",
}

__all__ = [
    "AccessError",
    "Batch",
    "Case",
    "Diverged",
    "Method",
    "Problem",
    "Record",
    "Samples",
    "Search",
    "Task",
    "leaderboard",
    "load_task",
    "measure",
    "read_results",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mubench' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
