"""mubench: a benchmark and leaderboard harness for machine unlearning of image classifiers.

What a method needs is importable from here. Names are loaded on first use, so that listing and
help import no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .method.problem import AccessError, Method, Problem
    from .record.schema import Record
    from .task.data import Samples
    from .task.spec import TaskSpec, TrainSpec, load_task
    from .training.loop import Batch, Diverged, EpochLog, Loss, cross_entropy

__version__ = version("mubench")

_HOMES = {
    "AccessError": "method.problem",
    "Batch": "training.loop",
    "Diverged": "training.loop",
    "EpochLog": "training.loop",
    "Loss": "training.loop",
    "Method": "method.problem",
    "Problem": "method.problem",
    "Record": "record.schema",
    "Samples": "task.data",
    "TaskSpec": "task.spec",
    "TrainSpec": "task.spec",
    "cross_entropy": "training.loop",
    "load_task": "task.spec",
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
