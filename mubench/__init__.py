"""mubench: a benchmark and leaderboard harness for machine unlearning of image classifiers.

What a method needs is importable from here. Names are loaded on first use, so that listing and
help import no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data import Samples
    from .problem import AccessError, Method, Problem
    from .records import Record
    from .task import TaskSpec, TrainSpec, load_task
    from .training import Batch, Diverged, EpochLog, Loss, cross_entropy

__version__ = version("mubench")

_HOMES = {
    "AccessError": "problem",
    "Batch": "training",
    "Diverged": "training",
    "EpochLog": "training",
    "Loss": "training",
    "Method": "problem",
    "Problem": "problem",
    "Record": "records",
    "Samples": "data",
    "TaskSpec": "task",
    "TrainSpec": "task",
    "cross_entropy": "training",
    "load_task": "task",
}

__all__ = [
    "AccessError",
    "Batch",
    "Diverged",
    "EpochLog",
    "Loss",
    "Method",
    "Problem",
    "Record",
    "Samples",
    "TaskSpec",
    "TrainSpec",
    "cross_entropy",
    "load_task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mubench' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
