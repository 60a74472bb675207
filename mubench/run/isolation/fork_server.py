"""A clean process that forks: the start of every isolated run.

The server has imported what a method may need and nothing else, holds no data, and forks one child
per run, which is fast. No process outlives a run: the server is process 1 of its own namespace, or
adopts orphans, and ends them. Nothing outlives the caller: its end of the socket closes with it.

On the socket, a `+` with the child's file descriptors asks for a child, and an `x` asks for the
child's death. When the child is gone, one line of JSON says how it ended. The other side of the
socket is `mubench.run.isolation.conversation`.
"""

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from typing import Any, NoReturn

from . import linux
from .leftovers import FOLDER_PREFIX, left_since, shared_things

LINGER_SECONDS = 0.5  # for helpers of a method, such as a resource tracker, to end by themselves
WATCH_SECONDS = 0.25  # how often the processes of a run are counted
MOST_PROCESSES = 500  # a run that has more is ended
TOO_MANY_PROCESSES = f"it had more than {MOST_PROCESSES} processes"


def serve(descriptor: int) -> NoReturn:
    """Serves the caller until the caller is gone.

    Args:
        descriptor: of the socket to the caller.
    """
    caller = socket.socket(fileno=descriptor)
    hidden = json.loads(_read_line(caller))
    obstacle = linux.enter_namespaces()
    if obstacle is None:
        first = os.fork()
        if first:  # cannot be in the new namespace itself; lives as long as what is
            caller.close()
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        linux.die_with_parent()
        obstacle = linux.hide(hidden)
    else:
        linux.adopt_orphans()
    del hidden  # otherwise a forked child could read this list from our frame
    try:
        _Server(caller, obstacle).run()
    except BrokenPipeError:
        os._exit(0)  # the caller is gone
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _read_line(caller: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = caller.recv(1)
        if not piece:
            os._exit(0)
        line += piece
    return line


class _Server:
    def __init__(self, caller: socket.socket, obstacle: str | None):
        self.caller = caller
        self.obstacle = obstacle
        self.bell, ring = os.pipe()  # readable when a child has changed its state
        os.set_blocking(ring, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def run(self) -> NoReturn:
        import timm  # noqa: F401 - most networks are its, and a child would import it by the clock

        from . import child as child_process  # slow: all of torch

        gc.collect()
        gc.freeze()  # the collector leaves these objects alone, so children share their memory
        self.caller.sendall(json.dumps({"visible": self.obstacle}).encode() + b"\n")
        while True:
            word, descriptors, _, _ = socket.recv_fds(self.caller, 1, 4)
            if not word:
                os._exit(0)
            if word == b"+":  # an `x` here is for a child that has ended: ignore it
                before = shared_things()
                folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
                child = os.fork()
                if child == 0:
                    self._become_child()
                    child_process.main(folder, self.obstacle, *descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                report = self._watch(child)
                shutil.rmtree(folder, ignore_errors=True)
                report["left_things"] = left_since(before) if self.obstacle else []
                self.caller.sendall(json.dumps(report).encode() + b"\n")

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        linux.die_with_parent()
        self.caller.close()
        os.close(self.bell)
        os.setsid()

    def _watch(self, child: int) -> dict[str, Any]:
        """Waits until a child has ended or the caller asks for its end; leaves no process behind.

        Returns:
            `code`, the child's exit code (negative: the signal that killed the child);
            `peak_memory_bytes` of the child; `left`, the number of processes that it left;
            `reason`, why the server itself ended the child, if it did.
        """
        usage, code, reason = None, 0, None
        sources: list[Any] = [self.caller, self.bell]
        while usage is None:
            ready, _, _ = select.select(sources, [], [], WATCH_SECONDS)
            if self.bell in ready:
                os.read(self.bell, 4096)
            if os.getpid() == 1 and linux.count_processes() > MOST_PROCESSES:
                reason = TOO_MANY_PROCESSES
            if self.caller in ready:
                self.caller.recv(1)  # an `x`, or the end of the caller
            if self.caller in ready or reason:
                os.kill(child, signal.SIGKILL)
                _, status, usage = os.wait4(child, 0)
                code = os.waitstatus_to_exitcode(status)
            while usage is None and (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    code, usage = os.waitstatus_to_exitcode(ended[1]), ended[2]
        left = _end_all_of(child)
        unit = 1 if sys.platform == "darwin" else 1024
        peak = usage.ru_maxrss * unit
        return {"code": code, "peak_memory_bytes": peak, "left": left, "reason": reason}


def _end_all_of(child: int) -> int:
    """Kills the processes that a child has left; returns how many there were."""
    if not linux.IS_LINUX:
        try:
            os.killpg(child, signal.SIGKILL)
        except OSError:
            return 0
        return 1
    patience = time.monotonic() + LINGER_SECONDS
    killed = 0
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return killed
        if pid:
            killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            continue
        if time.monotonic() > patience:
            linux.kill_descendants()
        time.sleep(0.01)
