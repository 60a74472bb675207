"""Leaves a process behind, in a session of its own."""

import os
import time
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(987)
            os._exit(0)
        os.wait()
        return problem.original
