"""The isolated process: imports one method, runs it once, hands over what it left.

The process and the caller speak line by line, in JSON:

    the caller names a method and its choices   -> the process says how it is walled in
                                                -> the process has found the method, or refuses
    the caller starts the clock                 -> the process describes the method, or refuses
    the caller has written the inputs           -> the process has unlearned and written the outcome

The clock starts before the first line of the method's code runs and ends when the outcome is there,
so no work can be done ahead of it. The method is imported before its inputs exist. The clock is the
caller's, so it does not matter what this process says of itself.
"""

import atexit
import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import torch

from mubench._util.errors import UserError
from mubench.method.discovery import MethodClass, load_method
from mubench.method.global_state import room_for_open_files
from mubench.method.meter import Meter
from mubench.method.presets import Choice, configure_choice
from mubench.method.problem import Method, Problem
from mubench.run.execute import describe_error, execute

from . import linux, wire_format
from .private_files import make_files_private

FILES_SHARE = 0.25
"""Share of a run's memory that its files may take, because they lie in memory too."""


def main(
    folder: str, obstacle: str | None, control: int, output: int, inputs: int, result: int
) -> NoReturn:
    """Runs one method.

    Args:
        folder: an empty folder for this process alone: working folder, home, temporary files.
        obstacle: why this process has no namespaces, or None.
        control: descriptor of the socket to the caller.
        output: descriptor that takes what the method prints.
        inputs: descriptor of the file that the caller will write the inputs to.
        result: descriptor of the file that takes the outcome.
    """
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        caller = _Caller(control)
        request = caller.hear()
        caller.say({"obstacle": _settle(folder, obstacle, request)})
        _run(request, caller, inputs, result)
        code = 0
        atexit._run_exitfuncs()  # ends pools of processes; the rest of an exit takes a second
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class _Caller:
    """The caller, at the other end of the socket. A closed socket ends this process."""

    def __init__(self, descriptor: int):
        self._socket = socket.socket(fileno=descriptor)
        self._lines: IO[bytes] = self._socket.makefile("rb")

    def hear(self) -> Any:
        line = self._lines.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def say(self, message: object) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")


def _settle(folder: str, obstacle: str | None, request: dict[str, Any]) -> str | None:
    """Walls this process in; returns why it has no files of its own, or None."""
    on_gpu = request["device"] not in (None, "cpu")
    if obstacle is None:
        most_bytes = int(FILES_SHARE * request["memory_bytes"])
        obstacle = make_files_private(folder, request["code"], most_bytes, on_gpu=on_gpu)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = None
    if on_gpu:
        torch.ones(1, device=request["device"])  # a GPU takes seconds to start up: before the clock
    linux.limit_memory(request["memory_bytes"])
    linux.drop_privileges()
    return obstacle


def _run(request: dict[str, Any], caller: _Caller, inputs_file: int, result_file: int) -> None:
    reference = request["reference"]
    try:
        method = load_method(reference, _under_the_clock(caller))
        description, instance = _describe(method, request["choices"])
    except UserError as error:
        return caller.say({"refused": str(error)})
    except BaseException as error:
        return caller.say(
            {"refused": f"method {reference!r} cannot be imported: {describe_error(error)}"}
        )
    caller.say(description)
    caller.hear()
    assert instance

    with os.fdopen(inputs_file, "rb") as file:
        file.seek(0)  # both processes share one file offset, which the caller left at the end
        inputs = wire_format.unpack_inputs(file.read())
    torch.set_num_threads(request["threads"])
    meter = Meter()
    problem = Problem(inputs, meter)
    me = os.getpid()
    with room_for_open_files():
        outcome = execute(instance, problem, meter)
    if os.getpid() != me:
        os._exit(0)  # this is a copy that the method forked and that came out of `unlearn` too
    content = wire_format.pack_outcome(outcome)
    with os.fdopen(result_file, "wb") as file:
        file.seek(0)
        file.truncate()
        file.write(content)
    caller.say("done")


@contextmanager
def _under_the_clock(caller: _Caller) -> Iterator[None]:
    """Lets the caller start the clock before the code inside runs."""
    caller.say("found")
    caller.hear()
    yield


def _describe(
    method: MethodClass, choices: list[dict[str, Any]]
) -> tuple[dict[str, Any], Method | None]:
    """What a record says of a method, its parameters under each choice, and the last instance."""
    configured: list[dict[str, Any]] = []
    mistakes: list[str] = []
    instance = None
    for choice in choices:
        try:
            one = configure_choice(method, Choice(**choice))
            instance = one.instance
            fields = ("parameters", "preset", "tuning_epochs", "changed")
            configured.append({name: getattr(one, name) for name in fields})
        except UserError as error:
            mistakes += [line for line in str(error).splitlines() if line not in mistakes]
    description = {
        "info": {
            "name": method.name,
            "distribution": method.distribution,
            "distribution_version": method.distribution_version,
            "source_sha256": method.source_sha256,
            "requires": sorted(method.requires),
            "control": method.control,
        },
        "configured": configured,
        "mistakes": mistakes,
    }
    return description, instance
