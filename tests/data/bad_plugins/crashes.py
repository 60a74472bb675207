"""Ends its process the hard way."""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    how: str = "exit"

    def unlearn(self, problem):
        sys.stdout.write("goodbye\n")
        match self.how:
            case "exit":
                os._exit(7)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                ctypes.string_at(0)
            case "come back twice":
                os.fork()
        return problem.original
