"""Runs methods in processes of their own, where they cannot do harm or look things up.

What holds everywhere:
- the process never held a gold or a scored sample, in memory, frames or open files: it is forked
  from one that has imported the harness and nothing else, and is given what the method declared;
- `MUBENCH_CACHE`, `MUBENCH_DATA` and the user's home are not in its environment, its working folder
  is empty and goes with it;
- a hang, a crash, `sys.exit`, running out of memory end that process alone, and whatever it forked;
- the clock is the caller's: from telling it to go, until its weights have arrived;
- weights come back as safetensors and are checked, so nothing of the method's runs in the caller.

What holds where the system gives namespaces to users (most Linux outside of containers): the cache,
the data and the results are not in its file system, and it sees no process but its own.

What does not hold: the network is open, a method can bring along what it knows of public test
images, the counts of samples are taken inside of its process, and other files can be read and
written as the user can. This is no sandbox for malicious code.
"""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs
import torch

from mubench._util.cache import cache_root
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.files import HARNESS
from mubench._util.messages import say
from mubench.run.execute import Inputs, Outcome

from . import linux, wire_format
from .conversation import EXIT_SECONDS, Child, NotHeard, read_line

START_SECONDS = 120  # for importing a method, and for building its problem
CLOSE_SECONDS = 30  # for a process that may still be importing torch to notice its end
LEAST_LIMIT_SECONDS = 60
BUDGETS = 4  # a method may take so many times its budget before it is stopped
RETRAINS = 2  # but never less than so many retrainings: controls may retrain
MEMORY_SHARE = 0.8  # of the machine's, for all that runs at once

BOOT = """
import json, sys
descriptor, sys.path[:] = json.loads(sys.argv[1])
from mubench.run.isolation.fork_server import serve
serve(descriptor)
"""


def time_limit(budget: float, retrain_seconds: float) -> float:
    """Seconds after which a method is stopped: what it may cost, and a generous margin.

    Args:
        budget: of the task, as a share of the retraining cost.
        retrain_seconds: what retraining takes here.
    """
    return max(LEAST_LIMIT_SECONDS, max(BUDGETS * budget, RETRAINS) * retrain_seconds)


def memory_limit(num_workers: int = 1) -> int:
    """Bytes that a method may have when so many run at once."""
    return int(MEMORY_SHARE * linux.physical_memory_bytes() / num_workers)


@dataclass(frozen=True)
class Described:
    """A method with its parameters, as a process that imported it describes it."""

    reference: str
    settings: Mapping[str, Any]
    name: str
    distribution: str | None
    version: str | None
    source_sha: str
    requires: frozenset[str]
    is_control: bool
    parameters: dict[str, Any]


class Isolation:
    """Starts processes for methods; a context manager, to be used by one thread."""

    def __init__(self, hidden: Iterable[Path] = (), memory_bytes: int | None = None):
        """Starts up in the background, as importing torch takes seconds.

        Args:
            hidden: folders that methods are not to see, where the system allows that; the cache
                and the user's data are always among them.
            memory_bytes: that a method may have; default: 80% of the machine's.
        """
        self._hidden = _hideable(hidden)
        self._memory_bytes = memory_bytes or memory_limit()
        self.visible: str | None = None
        """Why methods can see those folders all the same; known after the first method."""
        self._start()

    def _start(self) -> None:
        self._server, its = socket.socketpair()
        path = [str(Path(entry or ".").absolute()) for entry in sys.path]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MUBENCH_") and name != "XDG_CACHE_HOME"
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT, json.dumps([its.fileno(), path])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            env=environment,
            start_new_session=True,
        )
        its.close()
        self._server.sendall(json.dumps(self._hidden).encode() + b"\n")
        self._is_up = False

    def _child(self) -> Child:
        if self._is_up and select.select([self._server], [], [], 0)[0]:
            # It never speaks first, so this is its end: a method found a way to kill it.
            self.close()
            self._start()
        if not self._is_up:
            line = read_line(self._server)
            if not line:
                raise RuntimeError("the process that isolates methods did not start")
            visible = json.loads(line)["visible"]
            if visible and not self.visible:
                say(f"methods are isolated, but can see the cache: {visible}")
            self._is_up, self.visible = True, visible
        return Child(self._server)

    def close(self) -> None:
        """Ends the processes."""
        self._server.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, reference: str, settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "reference": reference,
            "settings": settings,
            "threads": torch.get_num_threads(),
            "memory_bytes": self._memory_bytes,
        }

    def describe(
        self, reference: str, settings: Sequence[Mapping[str, Any]] = ({},)
    ) -> list[Described]:
        """Imports a method in a process of its own and says what it is.

        Args:
            reference: as for `load_method`.
            settings: parameters other than the defaults; one description for each.

        Raises:
            UserError: it cannot be imported, or does not take the settings; all mistakes at once.
        """
        reference = _absolute(reference)
        with self._child() as child:
            child.say(self._request(reference, settings))
            try:
                answer = child.hear(START_SECONDS)
            except NotHeard as reason:
                raise UserError(f"method {reference!r} cannot be imported: {reason}") from None
        if refused := answer.get("refused") or "\n".join(answer.pop("mistakes")):
            raise UserError(refused)
        answer["requires"] = frozenset(answer["requires"])
        parameters = answer.pop("parameters")
        return [
            Described(reference, setting, parameters=values, **answer)
            for setting, values in zip(settings, parameters, strict=True)
        ]

    def run(self, method: Described, inputs: Inputs, limit_seconds: float) -> Outcome:
        """Runs a method in a process of its own.

        Args:
            method: as `describe` described it.
            inputs: what it is given.
            limit_seconds: after which it is stopped.

        Returns:
            What it left, with the caller's clock and the system's account of its memory.
        """
        request = self._request(method.reference, [method.settings])
        with self._child() as child:
            child.say(request)
            try:
                outcome = _converse(child, method, inputs, limit_seconds)
                ending = child.end(EXIT_SECONDS)
            except NotHeard as reason:
                outcome = Outcome(reason.status, str(reason), seconds=child.clock())
                ending = child.end()
        outcome.printed = child.printed.decode(errors="replace")
        if inputs.device.type == "cpu":
            outcome.peak_memory_bytes = ending.peak_memory_bytes
        if ending.left:
            outcome.flags += ("left-processes",)
        return outcome


def _converse(child: Child, method: Described, inputs: Inputs, limit_seconds: float) -> Outcome:
    answer = child.hear(START_SECONDS)
    if answer.get("source_sha") != method.source_sha:
        raise NotHeard("error", answer.get("refused") or "its source changed during the run")
    child.give(wire_format.pack_inputs(inputs))
    child.say("inputs")
    child.hear(START_SECONDS)
    child.start_clock()
    child.hear(limit_seconds)
    seconds = child.clock()
    weights_bytes = sum(value.nbytes for value in inputs.original.values())
    content = child.result(most_bytes=2 * weights_bytes + 64 * inputs.num_forget + 1_000_000)
    try:
        outcome = wire_format.unpack_outcome(content, inputs.num_forget)
    except DoesNotHold as error:
        raise NotHeard("error", str(error)) from None
    outcome.seconds = seconds
    return outcome


def _absolute(reference: str) -> str:
    """A reference that means the same in another working folder."""
    location, colon, name = reference.rpartition(":")
    if colon and location.endswith(".py"):
        return f"{Path(location).absolute()}:{name}"
    return reference


def _hideable(folders: Iterable[Path]) -> list[str]:
    """The folders to hide, inner ones first. They have to exist, and to hold no code."""
    own = [cache_root(), *folders]
    for folder in own:  # or it would be made, and seen, later
        folder.mkdir(parents=True, exist_ok=True)
    own.append(Path(platformdirs.user_cache_dir("mubench")))
    if data := os.environ.get("MUBENCH_DATA"):
        own.append(Path(data))
    code = [Path.cwd(), Path(sys.prefix), Path(sys.base_prefix), HARNESS]
    code += [Path(entry) for entry in sys.path if entry]
    hidden = set()
    for folder in (path.resolve() for path in own if path.is_dir()):
        if any(path.resolve().is_relative_to(folder) for path in code):
            say(f"methods can see {folder}: it holds code")
        else:
            hidden.add(str(folder))
    return sorted(hidden, key=len, reverse=True)
