"""Never comes back, and does not listen to polite signals."""

import signal
import sys
import time
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stdout.write("still thinking\n")
        while True:
            time.sleep(60)
