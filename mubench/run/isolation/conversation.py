"""Talking with an isolated process, from the caller's side.

The other side is `mubench.run.isolation.child`, which also says what is spoken.
"""

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

EXIT_SECONDS = 2  # most seconds for what a method registered to be done at exit
PRINTED_BYTES = 100_000  # the last so many bytes of what a method prints are kept
LINE_BYTES = 10_000_000  # a child's line may be so long

MISUSED = "the method used the harness's own channel"


class NotHeard(Exception):  # noqa: N818 - becomes a status
    """A child did not answer; the message says why, the status how the run ends."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Ending:
    """How a child ended, as the fork server reports it."""

    code: int  # exit code; negative: the signal that killed the child
    peak_memory_bytes: int  # of the child's process
    left: int  # processes that outlived the child
    reason: str | None = None  # why the server ended the child, if it did
    left_things: tuple[str, ...] = ()  # new in shared folders and shared memory

    def __str__(self) -> str:
        if self.reason:
            return f"its process was ended: {self.reason}"
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
        # These files have no name in any folder, so nobody else finds them.
        self._inputs = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._result = tempfile.TemporaryFile()  # noqa: SIM115
        self._control, child_end = socket.socketpair()
        self._output, printing = os.pipe()
        files = [child_end.fileno(), printing, self._inputs.fileno(), self._result.fileno()]
        socket.send_fds(server, [b"+"], files)
        child_end.close()
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
        """Sends the child a message as JSON; a child that is gone does not hear."""
        with contextlib.suppress(BrokenPipeError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, seconds: float) -> Any:
        """The child's next message.

        Args:
            seconds: most seconds to wait.

        Raises:
            NotHeard: the child ended, or said nothing for so long.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._heard:
            if self._ending:
                raise NotHeard("error", str(self._ending))
            if time.monotonic() > deadline:
                raise NotHeard("timeout", f"stopped after {seconds:.0f} s")
            if len(self._heard) > LINE_BYTES:
                raise NotHeard("error", MISUSED)
            self._listen(deadline)
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise NotHeard("error", MISUSED) from None

    def _listen(self, deadline: float) -> None:
        """Takes in what the child or the server sends next, until the deadline at the latest."""
        ready = self._selector.select(max(0, deadline - time.monotonic()))
        # The server comes last, because what a child said before it ended counts.
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
        """Waits until nothing is left of the child, and ends the child if that takes too long.

        Args:
            patience_seconds: how long the child may take to end by itself.
        """
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
        """Writes the child's inputs."""
        self._inputs.write(content)
        self._inputs.flush()

    def start_clock(self) -> None:
        """Starts the clock and tells the child to begin."""
        self._started = time.perf_counter()
        self.say("go")

    def clock(self) -> float:
        """Seconds since `start_clock`; 0.0 if the clock was never started."""
        return time.perf_counter() - self._started if self._started else 0.0

    def result(self, most_bytes: int) -> bytes:
        """The bytes of the child's outcome.

        Args:
            most_bytes: an outcome that is as long as this is refused.

        Raises:
            NotHeard: the outcome is longer than an honest one can be.
        """
        self._result.seek(0)
        content: bytes = self._result.read(most_bytes)
        if len(content) == most_bytes:
            raise NotHeard("error", "it returned far more than the original's weights")
        return content


def read_line(server: socket.socket) -> bytes:
    """The fork server's next line; empty if the server is gone."""
    with contextlib.suppress(ConnectionResetError), server.makefile("rb", buffering=0) as lines:
        return lines.readline()
    return b""
