"""Talking with an isolated process, from the caller's side: see `isolate_child` for the other."""

import contextlib
import json
import os
import selectors
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Self

from mubench.record.schema import Status

EXIT_SECONDS = 2  # for what a method registered to be done at exit
PRINTED_BYTES = 100_000  # of what a method prints, the last so many are kept


class NotHeard(Exception):  # noqa: N818 - becomes a status
    """What was to be heard from a child was not."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Ending:
    """How a child ended, in the words of the server."""

    code: int  # of its exit; negative: the signal that killed it
    peak_memory_bytes: int
    left: int  # processes

    def __str__(self) -> str:
        if self.code >= 0:
            return f"it ended its process with exit code {self.code}"
        name = signal.Signals(-self.code).name
        hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"


class Child:
    """One isolated process, from the caller's side."""

    def __init__(self, server: socket.socket):
        self.printed = b""
        self._started = 0.0
        self._server = server
        self._heard = b""
        self._ending: Ending | None = None
        # Without a name in any folder: nobody else finds them.
        self._inputs = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._result = tempfile.TemporaryFile()  # noqa: SIM115
        self._control, its = socket.socketpair()
        self._output, printing = os.pipe()
        files = [its.fileno(), printing, self._inputs.fileno(), self._result.fileno()]
        socket.send_fds(server, [b"+"], files)
        its.close()
        os.close(printing)
        os.set_blocking(self._output, False)
        self._selector = selectors.DefaultSelector()
        for source in (self._control, self._output, server):
            self._selector.register(source, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._selector.close()
        self._control.close()
        os.close(self._output)
        self._inputs.close()
        self._result.close()

    def say(self, message: object) -> None:
        """Tells it something; a child that is gone does not hear."""
        with contextlib.suppress(BrokenPipeError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, seconds: float) -> Any:
        """What it says next.

        Raises:
            NotHeard: it ended, or said nothing for so long.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._heard:
            if self._ending:
                raise NotHeard("error", str(self._ending))
            if time.monotonic() > deadline:
                raise NotHeard("timeout", f"stopped after {seconds:.0f} s")
            self._listen(deadline)
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise NotHeard("error", "the method used the harness's own channel") from None

    def _listen(self, deadline: float) -> None:
        """Takes in what comes next; returns at the deadline at the latest."""
        ready = self._selector.select(max(0, deadline - time.monotonic()))
        # The server last: what a child said before it ended counts.
        for source in sorted((key.fileobj for key, _ in ready), key=lambda s: s is self._server):
            if source is self._server:
                self._ending = self._read_ending()
            elif source is self._control:
                if piece := self._control.recv(65536):
                    self._heard += piece
                else:
                    self._selector.unregister(source)
            elif not self._take_output():
                self._selector.unregister(source)

    def _take_output(self) -> int:
        piece = os.read(self._output, 65536)
        self.printed = (self.printed + piece)[-PRINTED_BYTES:]
        return len(piece)

    def _read_ending(self) -> Ending:
        line = read_line(self._server)
        return Ending(**json.loads(line)) if line else Ending(-signal.SIGKILL, 0, 0)

    def end(self, patience_seconds: float = 0) -> Ending:
        """Lets it end, makes it end after so long, and waits until nothing is left of it."""
        deadline = time.monotonic() + patience_seconds
        while not self._ending and time.monotonic() < deadline:
            self._listen(deadline)
        if not self._ending:
            with contextlib.suppress(BrokenPipeError):
                self._server.sendall(b"x")
        while not self._ending:
            self._listen(time.monotonic() + 1)
        with contextlib.suppress(BlockingIOError):
            while self._take_output():
                pass
        return self._ending

    def give(self, content: bytes) -> None:
        """Writes the inputs."""
        self._inputs.write(content)
        self._inputs.flush()

    def start_clock(self) -> None:
        """Tells it to go."""
        self._started = time.perf_counter()
        self.say("go")

    def clock(self) -> float:
        """Seconds since then; 0 if it never went."""
        return time.perf_counter() - self._started if self._started else 0.0

    def result(self, most_bytes: int) -> bytes:
        """What it wrote.

        Raises:
            NotHeard: more than it can have to say.
        """
        self._result.seek(0)
        content: bytes = self._result.read(most_bytes)
        if len(content) == most_bytes:
            raise NotHeard("error", "it returned far more than the original's weights")
        return content


def read_line(server: socket.socket) -> bytes:
    """A line of the server's; empty when that is gone."""
    with contextlib.suppress(ConnectionResetError), server.makefile("rb", buffering=0) as lines:
        return lines.readline()
    return b""
