"""The isolated process: imports one method, runs it once, hands over what it left.

Speaks with the caller, line by line:

    it is told what to load                 -> it says what that is, or why it cannot be loaded
    it is told that the inputs are written  -> it says that it is ready
    it is told to go                        -> it unlearns and says that all of it is done

The method is imported before its inputs exist, so that no work can be done ahead of the clock, and
the clock stops when the result is there, whatever this process says of itself.
"""

import atexit
import json
import os
import socket
import sys
import tempfile
import traceback
from typing import IO, Any, NoReturn

import torch

from mubench._util.errors import UserError
from mubench.method.discovery import MethodClass, load_method
from mubench.method.parameters import configure, resolved_parameters
from mubench.method.problem import Meter, Method
from mubench.run.execute import attempt, describe_error

from . import linux, wire_format


def main(folder: str, control: int, output: int, inputs: int, result: int) -> NoReturn:
    """Runs one method.

    Args:
        folder: an empty one for this process alone: working folder, home, temporary files.
        control: descriptor of the socket to the caller.
        output: descriptor that takes what is printed.
        inputs: descriptor of the file that the inputs will be written to.
        result: descriptor of the file to write the outcome to.
    """
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        caller = _Caller(control)
        request = caller.hear()
        _settle(folder, request["memory_bytes"])
        _run(request, caller, inputs, result)
        code = 0
        atexit._run_exitfuncs()  # ends pools of processes; the rest of an exit takes a second
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class _Caller:
    """The other end of the socket. A closed one ends this process."""

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


def _settle(folder: str, memory_bytes: int) -> None:
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = None
    linux.limit_memory(memory_bytes)
    linux.drop_privileges()


def _run(request: dict[str, Any], caller: _Caller, inputs_file: int, result_file: int) -> None:
    reference = request["reference"]
    try:
        method = load_method(reference)
    except UserError as error:
        return caller.say({"refused": str(error)})
    except BaseException as error:
        return caller.say(
            {"refused": f"method {reference!r} cannot be imported: {describe_error(error)}"}
        )
    description, instance = _describe(method, request["settings"])
    caller.say(description)
    caller.hear()
    assert instance

    with os.fdopen(inputs_file, "rb") as file:
        file.seek(0)  # the caller's position is ours, and it has written
        inputs = wire_format.unpack_inputs(file.read())
    torch.set_num_threads(request["threads"])
    meter = Meter()
    problem = inputs.problem(meter)
    is_cuda = inputs.device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(inputs.device)
    caller.say("ready")
    caller.hear()

    me = os.getpid()
    outcome = attempt(instance, problem, meter)
    if os.getpid() != me:
        os._exit(0)  # a copy that the method forked came out of `unlearn` too
    if is_cuda:
        outcome.peak_memory_bytes = torch.cuda.max_memory_allocated(inputs.device)
    try:
        content = wire_format.pack_outcome(outcome)
    except Exception as error:  # weights of a kind that cannot be written
        outcome.status, outcome.error, outcome.weights = "error", describe_error(error), None
        outcome.trace = traceback.format_exc()
        content = wire_format.pack_outcome(outcome)
    with os.fdopen(result_file, "wb") as file:
        file.seek(0)
        file.truncate()
        file.write(content)
    caller.say("done")


def _describe(
    method: MethodClass, settings: list[dict[str, Any]]
) -> tuple[dict[str, Any], Method | None]:
    """What a record says of a method under each of some settings, and the last instance."""
    parameters: list[dict[str, Any] | None] = []
    mistakes: list[str] = []
    instance = None
    for setting in settings:
        try:
            instance = configure(method, setting)
            parameters.append(resolved_parameters(instance))
        except UserError as error:
            mistakes += [line for line in str(error).splitlines() if line not in mistakes]
    description = {
        "name": method.name,
        "distribution": method.distribution,
        "version": method.version,
        "source_sha": method.source_sha,
        "requires": sorted(method.requires),
        "is_control": method.is_control,
        "parameters": parameters,
        "mistakes": mistakes,
    }
    return description, instance
