"""Words for people: suggestions for misspelt names, messages on stderr, durations."""

import difflib
import sys
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown name" message.

    Returns:
        `; did you mean 'x'?` for the nearest known name, or `.` if no known name is near.
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def say(message: str) -> None:
    """Prints one line on stderr, as stdout is for data only."""
    print(f"mubench: {message}", file=sys.stderr, flush=True)  # noqa: T201


def duration(seconds: float) -> str:
    """A duration in seconds as text with a readable unit: `45 s`, `12 min`, `3.1 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
