"""Records the side effects of some code on its process, and restores the global state.

The conformance checks use these records to tell a method's author what to change. Recording is no
protection: code that wants to evade it can.
"""

import inspect
import io
import os
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mubench._util.cache import cache_root
from mubench.method.global_state import GLOBAL_STATE, bindings, put_back


@dataclass
class SideEffects:
    """The side effects of the watched code, one list item per event."""

    changed: list[str] = field(default_factory=list)  # global state that the code left changed
    printed: str = ""  # the text on stdout and stderr
    written: list[str] = field(default_factory=list)  # files and folders made, changed or removed
    connected: list[str] = field(default_factory=list)  # hosts
    spawned: list[str] = field(default_factory=list)  # processes
    spied: list[str] = field(default_factory=list)  # reads of the cache, and looks into frames


@contextmanager
def watched(own_files: frozenset[str]) -> Iterator[SideEffects]:
    """Records the side effects of the code inside the context, in an empty working folder.

    Args:
        own_files: the source files of the watched code. A look into frames or at the garbage
            collector's objects counts only if these files do it. Because libraries do it too, for
            harmless reasons, theirs does not count.

    Yields:
        The side effects. They are complete after the context.
    """
    seen, printed = SideEffects(), io.StringIO()
    with ExitStack() as stack:
        home = Path.cwd()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(folder)
        stack.callback(os.chdir, home)
        # Otherwise an import inside the watched code would count as writing its bytecode.
        stack.callback(setattr, sys, "dont_write_bytecode", sys.dont_write_bytecode)
        sys.dont_write_bytecode = True
        before = {name: read() for name, (read, _) in GLOBAL_STATE.items()}
        harness = bindings(lambda module: module.startswith("mubench."))
        _start_listening()
        with redirect_stdout(printed), redirect_stderr(printed):
            _listeners.append((seen, own_files))
            try:
                yield seen
            finally:
                _listeners.clear()
                seen.printed = printed.getvalue()
                for name, (read, restore) in GLOBAL_STATE.items():
                    if read() != before[name]:
                        seen.changed.append(name)
                        restore(before[name])
                seen.changed += put_back(harness)
                # Files that compiled code opens raise no audit event, so look for them.
                seen.written += [str(p.relative_to(folder)) for p in sorted(folder.rglob("*"))]


def where(error: BaseException, own_files: frozenset[str]) -> str:
    """Describes an error on one line, such as `KeyError: 'x' (mine.py:12)`.

    Args:
        error: the error, with its traceback.
        own_files: the source files of the watched code. The text names the last line of these
            files that led to the error.
    """
    steps = traceback.extract_tb(error.__traceback__)
    own = [f" ({Path(s.filename).name}:{s.lineno})" for s in steps if s.filename in own_files]
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return textwrap.shorten(text, 200) + (own[-1] if own else "")


WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink"}
READS = {"open", "os.listdir", "os.scandir"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
SPAWNS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system"}
SPIES = {"sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers"}

_listeners: list[tuple[SideEffects, frozenset[str]]] = []  # one while code is watched, else none


@cache
def _start_listening() -> None:
    """Adds the audit hook, once per process. Python cannot remove an audit hook."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    # Taken out while this event is handled. Otherwise our own file access would be recorded.
    seen, own = listener = _listeners.pop()
    try:
        _note(seen, own, event, arguments)
    finally:
        _listeners.append(listener)


def _note(seen: SideEffects, own: frozenset[str], event: str, arguments: tuple[Any, ...]) -> None:
    """Records one audit event of Python.

    Args:
        seen: where to record the event.
        own: the source files of the watched code.
        event: name of the event, such as `open`.
        arguments: the event's arguments, which depend on its name.
    """
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
        # These two events give the socket first and then the address.
        seen.connected.append(str(arguments[event in ("socket.connect", "socket.sendto")]))
    elif event in SPAWNS:
        seen.spawned.append(str(arguments[0]) if arguments else event)
    elif event in SPIES and _caller() in own:
        seen.spied.append(event)


def _opens_for_writing(path: Any, _mode: str | None, flags: int) -> bool:
    return not isinstance(path, int) and path != os.devnull and bool(flags & WRITE_FLAGS)


def _caller() -> str:
    """The file of the code that raised an event, past the modules `inspect` and `traceback`."""
    frame = sys._getframe(3)  # past this function, `_note` and `_hear`
    while frame.f_back and frame.f_code.co_filename in (inspect.__file__, traceback.__file__):
        frame = frame.f_back
    return frame.f_code.co_filename
