"""Runs methods in processes of their own, where they cannot do harm or look things up.

What holds everywhere:

- The process never held a gold or a scored sample, in memory, frames or open files. The process is
  forked from one that has imported the harness and nothing else, and gets what the method declared.
- The variables of mubench, AWS, fsspec and Ray and the user's home are not in its environment. Its
  working folder is empty and is removed with it.
- A hang, a crash, `sys.exit` or running out of memory ends that process alone, with its children.
- The clock is the caller's: from just before the method's code is imported until its weights have
  arrived. The inputs come into being after the import.
- Weights come back as safetensors and are checked, so nothing of the method's runs in the caller.

What holds if the system gives namespaces to users, as most Linux outside of containers does:

- The cache, the data and the results are not in the process's file system.
- The process sees no other process, and no network.
- What the process writes to files, shared memory and keyrings is its own and is gone with it. All
  that was there before can be read and not be written to.

What does not hold: a method can bring along what it knows of public test images. The counts of
samples are taken inside the process. Other files can be read as the user can. This is no sandbox
for malicious code.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import platformdirs
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from mubench._util.cache import cache_root
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.files import HARNESS
from mubench._util.messages import one_line, printable, say
from mubench.method.discovery import MethodInfo
from mubench.method.presets import Choice
from mubench.method.problem import MethodInputs
from mubench.record.flags import Flag
from mubench.record.schema import PresetName, Usage
from mubench.run.execute import MethodOutcome

from . import linux, wire_format
from .conversation import EXIT_SECONDS, MISUSED, Child, NotHeard, read_line

START_SECONDS = 120  # most seconds for importing a method, and for building its problem
CLOSE_SECONDS = 30  # most seconds for a process that may still be importing torch to end
LEAST_LIMIT_SECONDS = 60  # every method may take so long
BUDGETS = 4  # a method may take so many times its budget before it is stopped
RETRAINS = 2  # every method may take so many retrainings, because controls may retrain
MEMORY_SHARE = 0.8  # share of the machine's memory for all that runs at once

BOOT = """
import json, sys
descriptor, sys.path[:] = json.loads(sys.argv[1])
from mubench.run.isolation.fork_server import serve
serve(descriptor)
"""


def time_limit(budget: float, retrain_seconds: float) -> float:
    """Seconds after which a method is stopped: what the method may cost, with a generous margin.

    Args:
        budget: the task's budget, as a share of the cost of retraining.
        retrain_seconds: seconds that retraining takes here.
    """
    return max(LEAST_LIMIT_SECONDS, max(BUDGETS * budget, RETRAINS) * retrain_seconds)


def memory_limit(num_workers: int = 1) -> int:
    """Bytes that each method may have if so many run at once."""
    return int(MEMORY_SHARE * linux.physical_memory_bytes() / num_workers)


@dataclass(frozen=True, kw_only=True)
class Described(MethodInfo):
    """A method with its parameters, as a process that imported it describes it."""

    reference: str
    """How to find the method, as for `load_method`, from any working folder."""
    choice: Choice
    """The preset and the parameters that were given."""
    parameters: dict[str, Any]
    """All parameters, defaults included."""
    preset: str = ""
    """As in `RecordHead`."""
    tuning_epochs: float | None = None
    """As in `RecordHead`."""
    changed: tuple[str, ...] | None = None
    """As in `RecordHead`."""


class Isolation:
    """Starts processes for methods; a context manager, to be used by one thread."""

    def __init__(self, hidden: Iterable[Path] = (), memory_bytes: int | None = None):
        """Starts up in the background, because importing torch takes seconds.

        Args:
            hidden: folders that methods must not see, if the system allows that. The cache and the
                user's data are always among them.
            memory_bytes: bytes that a method may have. None: 80% of the machine's.
        """
        own = [cache_root(), *hidden]
        self._made = [made for folder in own for made in _make(folder)]
        self._hidden = _hideable(own)
        self._code = [str(path) for path in _code() if path != Path("/")]
        self._memory_bytes = memory_bytes or memory_limit()
        self.visible: str | None = None
        """Why methods can see the hidden folders all the same. None: they cannot.

        The reason is known after the first method."""
        self.obstacle: str | None = None
        """Why a method's files can outlive its run. None: they cannot, or no method ran yet."""
        self._start()

    def _start(self) -> None:
        self._server, server_end = socket.socketpair()
        path = [str(Path(entry or ".").absolute()) for entry in sys.path]
        environment = {
            name: value
            for name, value in os.environ.items()
            # A cache behind a URL is opened with the variables of AWS and fsspec, a cluster with
            # those of Ray.
            if not name.startswith(("MUBENCH_", "AWS_", "FSSPEC_", "RAY_"))
            and name != "XDG_CACHE_HOME"
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT, json.dumps([server_end.fileno(), path])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[server_end.fileno()],
            env=environment,
            start_new_session=True,
        )
        server_end.close()
        self._server.sendall(json.dumps(self._hidden).encode() + b"\n")
        self._is_up = False

    def _child(self) -> Child:
        if self._is_up and select.select([self._server], [], [], 0)[0]:
            # The server never speaks first, so this is its end: a method found a way to kill it.
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
        """Ends the server and every process that it forked."""
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
        for folder in self._made:  # nobody asked for an empty folder
            with suppress(OSError):
                folder.rmdir()

    def _request(
        self, reference: str, choices: Sequence[Choice], device: torch.device | None
    ) -> dict[str, Any]:
        location = reference.rpartition(":")[0]
        of_method = [str(Path(location).parent)] if location.endswith(".py") else []
        return {
            "reference": reference,
            "choices": [asdict(choice) for choice in choices],
            "threads": torch.get_num_threads(),
            "memory_bytes": self._memory_bytes,
            "code": [*self._code, *of_method],
            "device": str(device) if device else None,
        }

    def _meet(
        self,
        child: Child,
        reference: str,
        choices: Sequence[Choice],
        device: torch.device | None = None,
    ) -> "_Answer":
        """Has a child import a method and describe it; starts the clock in between.

        Args:
            child: a new child.
            reference: how to find the method.
            choices: several presets and sets of parameters.
            device: what the method will run on, if it will.

        Raises:
            NotHeard: the child ended, was too slow, or says something else.
        """
        child.say(self._request(reference, choices, device))
        obstacle = child.hear(START_SECONDS)["obstacle"]
        if obstacle and not (self.obstacle or self.visible):
            say(f"methods are isolated, but their files can outlive a run: {obstacle}")
        self.obstacle = obstacle
        answer = child.hear(START_SECONDS)
        if answer == "found":
            child.start_clock()
            answer = child.hear(START_SECONDS)
        try:
            return _Answer.model_validate(answer)
        except ValidationError:
            raise NotHeard("error", MISUSED) from None

    def describe(self, reference: str, choices: Sequence[Choice] = (Choice(),)) -> list[Described]:
        """Imports a method in a process of its own and describes it.

        Args:
            reference: how to find the method, as for `load_method`.
            choices: several presets and sets of parameters.

        Returns:
            One description per choice.

        Raises:
            UserError: the method cannot be imported, or does not take a choice; all mistakes at
                once.
        """
        reference = _absolute(reference)
        with self._child() as child:
            try:
                answer = self._meet(child, reference, choices)
            except NotHeard as reason:
                raise UserError(f"method {reference!r} cannot be imported: {reason}") from None
        if refused := answer.refused or "\n".join(answer.mistakes):
            raise UserError(printable(refused))
        if answer.info is None or len(answer.configured) != len(choices):
            raise UserError(f"method {reference!r} cannot be imported: {MISUSED}")
        return [
            Described(reference=reference, choice=choice, **dict(values), **dict(answer.info))
            for choice, values in zip(choices, answer.configured, strict=True)
        ]

    def run(self, method: Described, inputs: MethodInputs, limit_seconds: float) -> MethodOutcome:
        """Runs a method in a process of its own.

        Args:
            method: the method, as `describe` described it.
            inputs: what the method is given.
            limit_seconds: seconds after which the method is stopped.

        Returns:
            What the method left. The seconds are the caller's; on the CPU the peak memory is the
            system's account of the process.
        """
        content = wire_format.pack_inputs(inputs)
        with self._child() as child:
            try:
                answer = self._meet(child, method.reference, [method.choice], inputs.device)
                outcome = _converse(child, answer, method, inputs, content, limit_seconds)
                ending = child.end(EXIT_SECONDS)
            except NotHeard as reason:
                usage = Usage(seconds=child.clock())
                outcome = MethodOutcome(reason.status, one_line(str(reason)), usage=usage)
                ending = child.end()
        outcome.printed = child.printed.decode(errors="replace")
        outcome.isolation = "process" if self.obstacle else "namespaces"
        if inputs.device.type == "cpu":
            outcome.usage = outcome.usage.model_copy(
                update={"peak_memory_bytes": ending.peak_memory_bytes}
            )
        if ending.left:
            outcome.flags += (Flag.LEFT_PROCESSES,)
        if ending.left_things and self.obstacle:
            outcome.flags += (Flag.LEFT_FILES,)
            say(f"new after the run of {method.name}: {printable(', '.join(ending.left_things))}")
        return outcome


class _Info(BaseModel):
    """The fields of `MethodInfo`, as an isolated process says them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    distribution: str | None
    distribution_version: str | None
    source_sha256: str
    requires: frozenset[str]
    control: bool


class _Configured(BaseModel):
    """The parameters of a method under one choice, as an isolated process says them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    parameters: dict[str, Any]
    preset: PresetName
    tuning_epochs: float | None
    changed: tuple[str, ...]


class _Answer(BaseModel):
    """What an isolated process says of the method that it was told to import."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    refused: str | None = None
    info: _Info | None = None
    configured: list[_Configured] = []
    mistakes: list[str] = []


def _converse(
    child: Child,
    answer: _Answer,
    method: Described,
    inputs: MethodInputs,
    content: bytes,
    limit_seconds: float,
) -> MethodOutcome:
    """Gives a child its inputs, and takes what it left.

    Args:
        child: has imported the method, under the clock.
        answer: what the child said of the method.
        method: what was said of the method before.
        inputs: what the method is given.
        content: the inputs as bytes.
        limit_seconds: seconds after which the method is stopped.
    """
    if answer.info is None or answer.info.source_sha256 != method.source_sha256:
        raise NotHeard("error", answer.refused or "its source changed during the run")
    child.give(content)
    child.say("inputs")
    child.hear(limit_seconds)
    seconds = child.clock()
    weights_bytes = sum(value.nbytes for value in inputs.original.values())
    left = child.result(most_bytes=2 * weights_bytes + 64 * inputs.num_forget + 1_000_000)
    try:
        outcome = wire_format.unpack_outcome(left, inputs.num_forget)
    except DoesNotHold as error:
        raise NotHeard("error", str(error)) from None
    outcome.usage = outcome.usage.model_copy(update={"seconds": seconds})
    return outcome


def _absolute(reference: str) -> str:
    """A reference to a method that means the same from any working folder."""
    location, colon, name = reference.rpartition(":")
    if colon and location.endswith(".py"):
        return f"{Path(location).absolute()}:{name}"
    return reference


def _make(folder: Path) -> list[Path]:
    """Makes a folder and returns what was made, the innermost first.

    Otherwise a folder that is made while a method runs would be seen.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _hideable(folders: Iterable[Path]) -> list[str]:
    """The folders that can be hidden, inner ones first: those that exist and hold no code."""
    own = list(folders)
    with suppress(RuntimeError):  # the user has no home
        own.append(Path(platformdirs.user_cache_dir("mubench")))
    if data := os.environ.get("MUBENCH_DATA"):
        own.append(Path(data))
    code = [Path.cwd(), *_code()]
    hidden = set()
    for folder in (path.resolve() for path in own if path.is_dir()):
        if any(path.resolve().is_relative_to(folder) for path in code):
            say(f"methods can see {folder}: it holds code")
        else:
            hidden.add(str(folder))
    return sorted(hidden, key=len, reverse=True)


def _code() -> list[Path]:
    """Where Python, its packages and the harness are; not all of these need to exist."""
    return [
        *(Path(folder) for folder in (sys.prefix, sys.base_prefix)),
        HARNESS,
        *(Path(entry or ".").absolute() for entry in sys.path),
        *_installed_from_folders(),
    ]


def _installed_from_folders() -> Iterator[Path]:
    """The folders of packages that pip left where they are (`pip install -e`)."""
    for distribution in distributions():
        if origin := distribution.read_text("direct_url.json"):
            with contextlib.suppress(ValueError, KeyError):
                address = urlsplit(json.loads(origin)["url"])
                if address.scheme == "file":
                    yield Path(unquote(address.path))
