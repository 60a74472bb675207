"""Global state of the process that a method may change, and putting that state back.

This is for runs in the harness's own process. It holds against mistakes and not against malice: a
method can hide what it changed, and its threads go on.
"""

import contextlib
import gc
import os
import pickle
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_module

from mubench.training import precision

cudnn = torch.backends.cudnn


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _mask_of_files() -> int:
    mask = os.umask(0o077)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_signal_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler and handler is not None:
            with contextlib.suppress(ValueError, OSError):  # outside of the main thread
                signal.signal(number, handler)


def _set_inference_mode(enabled: bool) -> None:
    # A mode is left by its guard alone, and that is the method's: a new one lies on top for good.
    torch.inference_mode(enabled).__enter__()


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


HOOKS_ON_ALL_MODULES: tuple[dict[int, Any], ...] = (
    torch_module._global_forward_pre_hooks,
    torch_module._global_forward_hooks,
    torch_module._global_backward_pre_hooks,
    torch_module._global_backward_hooks,
)


def _set_hooks(before: list[dict[int, Any]]) -> None:
    for hooks, earlier in zip(HOOKS_ON_ALL_MODULES, before, strict=True):
        hooks.clear()
        hooks.update(earlier)


def _set_kernels(values: tuple[bool, bool]) -> None:
    cudnn.benchmark, cudnn.deterministic = values


GLOBAL_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's inference mode": (torch.is_inference_mode_enabled, _set_inference_mode),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic mode": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch's autocast on the CPU": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda enabled: torch.set_autocast_enabled("cpu", enabled),
    ),
    "torch's hooks on all modules": (
        lambda: [dict(hooks) for hooks in HOOKS_ON_ALL_MODULES],
        _set_hooks,
    ),
    "torch's precision on a GPU": (precision.float32_precision, precision.set_float32_precision),
    "cuDNN's choice of kernels": (
        lambda: (cudnn.benchmark, cudnn.deterministic),
        _set_kernels,
    ),
    "Python's random generator": (random.getstate, random.setstate),
    "Python's recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "Python's garbage collector": (
        gc.isenabled,
        lambda enabled: gc.enable() if enabled else gc.disable(),
    ),
    "Python's path of imports": (lambda: list(sys.path), _set_path),
    "numpy's random generator": (
        lambda: pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the one that is global
        lambda state: np.random.set_state(pickle.loads(state)),  # noqa: NPY002
    ),
    "numpy's handling of errors": (np.geterr, lambda handling: np.seterr(**handling)),
    "the handlers of signals": (_signal_handlers, _set_signal_handlers),
    "the alarm": (
        lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        lambda _: signal.setitimer(signal.ITIMER_REAL, 0),
    ),
    "the mask of new files": (_mask_of_files, os.umask),
    "the working folder": (os.getcwd, os.chdir),
    "the environment": (lambda: dict(os.environ), _set_environment),
}
"""Global state by name, with the functions that read and restore it. Torch's random generator is
missing, because the harness seeds it before each run and restores it afterwards."""

LIBRARIES = ("torch", "torch.nn", "torch.optim", "torch.autograd", "torch.utils.data", "numpy")
"""Libraries whose functions and methods are put back. Only what these modules hold themselves, and
what is below `torch.nn` and `torch.optim`, is looked at."""


@contextmanager
def restored() -> Iterator[None]:
    """Puts the global state back after the code inside, whatever that code does or raises.

    Otherwise a method that turns gradients off, say, would break the cells after its own.
    """
    before = {name: read() for name, (read, _) in GLOBAL_STATE.items()}
    code = bindings(_is_measuring, only_code=True)
    with ExitStack() as stack:
        stack.enter_context(room_for_open_files())
        stack.enter_context(_streams())
        try:
            yield
        finally:
            put_back(code)
            for name, (read, restore) in GLOBAL_STATE.items():
                if _differs(read, before[name]):
                    restore(before[name])


def _differs(read: Callable[[], Any], before: Any) -> bool:
    try:
        return bool(read() != before)
    except OSError:  # the working folder is gone
        return True


def _is_measuring(module: str) -> bool:
    is_below = module.startswith(("mubench.", "torch.nn.", "torch.optim."))
    return is_below or module in LIBRARIES or module == "time"


Bindings = dict[tuple[Any, str], Any]
"""The values of names, by (module or class, name)."""


def bindings(is_of: Callable[[str], bool], *, only_code: bool = False) -> Bindings:
    """The value of every name in modules and in the classes that they define.

    Args:
        is_of: tells by a module's name whether it is one of them.
        only_code: True for functions and classes alone, with those that Python calls by itself.
    """
    modules = [module for name, module in list(sys.modules.items()) if is_of(name)]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return {
        (owner, name): value
        for owner in (*modules, *classes)
        for name, value in list(vars(owner).items())
        if (_is_code(value) if only_code else not name.startswith("__"))
    }


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


def put_back(before: Bindings) -> list[str]:
    """Gives names their values back; returns those that had others."""
    changed = []
    for (owner, name), value in before.items():
        if vars(owner).get(name) is not value:
            changed.append(f"{owner.__name__}.{name}")
            setattr(owner, name, value)
    return changed


@contextmanager
def _streams() -> Iterator[None]:
    """Puts the standard streams back, and opens them again if they were closed."""
    objects = {1: ("stdout", sys.stdout), 2: ("stderr", sys.stderr)}
    copies = {number: os.dup(number) for number in objects}
    try:
        yield
    finally:
        for number, (name, stream) in objects.items():
            os.dup2(copies[number], number)
            os.close(copies[number])
            if stream is not None and stream.closed:
                stream = open(number, "w", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)


@contextmanager
def room_for_open_files() -> Iterator[None]:
    """Leaves half of the files that the process may still open to what comes after the code inside.

    If the code leaves files open, the limit rises by so many, as far as the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = soft if soft != resource.RLIM_INFINITY else 2**20
    before = _count_open_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, ((soft + before) // 2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        left = max(0, _count_open_files() - before)
        highest = hard if hard != resource.RLIM_INFINITY else soft + left
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft + left, highest), hard))


def _count_open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))
