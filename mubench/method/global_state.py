"""Global state of the process that a method may change, and putting that state back."""

import os
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


GLOBAL_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic mode": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "Python's random generator": (random.getstate, random.setstate),
    "numpy's random generator": (
        lambda: pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the one that is global
        lambda state: np.random.set_state(pickle.loads(state)),  # noqa: NPY002
    ),
    "the working folder": (os.getcwd, os.chdir),
    "the environment": (lambda: dict(os.environ), _set_environment),
}
"""Global state by name, with the functions that read and restore it. Torch's random generator is
missing, because the harness seeds it before each run and restores it afterwards."""


@contextmanager
def restored() -> Iterator[None]:
    """Puts the global state back after the code inside, whatever that code does or raises.

    Otherwise a method that turns gradients off, say, would break the cells after its own.
    """
    before = {name: read() for name, (read, _) in GLOBAL_STATE.items()}
    try:
        yield
    finally:
        for name, (read, restore) in GLOBAL_STATE.items():
            if _differs(read, before[name]):
                restore(before[name])


def _differs(read: Callable[[], Any], before: Any) -> bool:
    try:
        return bool(read() != before)
    except OSError:  # the working folder is gone
        return True
