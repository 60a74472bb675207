"""Notes what some code does to the process around it, and undoes what can be undone.

Made for `checks`, to tell an author what to change. It is no prison: code that wants to get around
it can.
"""

import inspect
import io
import os
import pickle
import random
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mubench._util.cache import cache_root


@dataclass
class Seen:
    """What the code did; one line for each thing."""

    changed: list[str] = field(default_factory=list)  # global state that it left changed
    printed: str = ""
    written: list[str] = field(default_factory=list)  # files and folders
    connected: list[str] = field(default_factory=list)  # hosts
    spawned: list[str] = field(default_factory=list)  # processes
    spied: list[str] = field(default_factory=list)  # where trained models or the harness's data are


@contextmanager
def watched(own_files: frozenset[str]) -> Iterator[Seen]:
    """Watches the code inside, in an empty working folder.

    Args:
        own_files: the source of the code that is watched; only its own look into frames counts.
    """
    seen, printed = Seen(), io.StringIO()
    with ExitStack() as stack:
        home = Path.cwd()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(folder)
        stack.callback(os.chdir, home)
        # An import inside of a method may want to leave its bytecode.
        stack.callback(setattr, sys, "dont_write_bytecode", sys.dont_write_bytecode)
        sys.dont_write_bytecode = True
        before = {name: read() for name, (read, _) in SETTINGS.items()}
        bindings = _harness_bindings()
        _start_listening()
        with redirect_stdout(printed), redirect_stderr(printed):
            _listeners.append((seen, own_files))
            try:
                yield seen
            finally:
                _listeners.clear()
                seen.printed = printed.getvalue()
                for name, (read, restore) in SETTINGS.items():
                    if read() != before[name]:
                        seen.changed.append(name)
                        restore(before[name])
                for (owner, name), value in bindings.items():
                    if vars(owner).get(name) is not value:
                        seen.changed.append(f"{owner.__name__}.{name}")
                        setattr(owner, name, value)
                # Compiled code opens files unheard.
                seen.written += [str(p.relative_to(folder)) for p in sorted(folder.rglob("*"))]


def where(error: BaseException, own_files: frozenset[str]) -> str:
    """`KeyError: 'x' (mine.py:12)`: an error with the last of the own lines that led to it."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [f" ({Path(s.filename).name}:{s.lineno})" for s in steps if s.filename in own_files]
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return textwrap.shorten(text, 200) + (own[-1] if own else "")


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
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
"""Global state by name, with what reads it and what puts it back. Torch's random generator is not
part of it: the runner seeds that for each run and gives it back."""


def _harness_bindings() -> dict[tuple[Any, str], Any]:
    """What the names in the harness's modules and classes are bound to."""
    modules = [module for name, module in sys.modules.items() if name.startswith("mubench.")]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return {
        (owner, name): value
        for owner in (*modules, *classes)
        for name, value in vars(owner).items()
        if not name.startswith("__")
    }


WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink"}
READS = {"open", "os.listdir", "os.scandir"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
SPAWNS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system"}
SPIES = {"sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers"}

_listeners: list[tuple[Seen, frozenset[str]]] = []  # one while code is watched, else none


@cache
def _start_listening() -> None:
    """An audit hook stays for the life of its process."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    seen, own = listener = _listeners.pop()  # deaf to what is done here
    try:
        _note(seen, own, event, arguments)
    finally:
        _listeners.append(listener)


def _note(seen: Seen, own: frozenset[str], event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opens_for_writing(*arguments):
        seen.written.append(os.fsdecode(arguments[0]))
    elif event in READS:
        if isinstance(arguments[0], str | bytes | os.PathLike):
            path = Path(os.fsdecode(arguments[0])).absolute()
            if path.is_relative_to(cache_root().absolute()):
                seen.spied.append(str(path))
    elif event in WRITES:
        seen.written.append(str(arguments[0]))
    elif event in CONNECTS:
        # the address follows the socket, where there is one
        seen.connected.append(str(arguments[event in ("socket.connect", "socket.sendto")]))
    elif event in SPAWNS:
        seen.spawned.append(str(arguments[0]) if arguments else event)
    elif event in SPIES and _caller() in own:
        seen.spied.append(event)


def _opens_for_writing(path: Any, _mode: str | None, flags: int) -> bool:
    return not isinstance(path, int) and path != os.devnull and bool(flags & WRITE_FLAGS)


def _caller() -> str:
    """The file of the code that raised an event, not counting the tools for looking at frames."""
    frame = sys._getframe(3)  # past this function, `_note` and `_hear`
    while frame.f_back and frame.f_code.co_filename in (inspect.__file__, traceback.__file__):
        frame = frame.f_back
    return frame.f_code.co_filename
