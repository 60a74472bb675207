"""Words for people: suggestions for misspelt names, messages on stderr, durations."""

import difflib
import re
import sys
from collections.abc import Iterable

_ORDERS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b.")
"""What terminals take for an order: colours, moves of the cursor, titles of windows."""

MOST_LETTERS = 1000
"""Most letters of a line that somebody else's code wrote."""


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


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as `1 case`, `2 cases` or `2 entries`."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"


def one_line(text: str) -> str:
    """The first line of a text by somebody else, without what a terminal would obey."""
    return printable(text.partition("\n")[0])[:MOST_LETTERS]


def printable(text: str) -> str:
    """A text without what a terminal would obey; its lines and tabs stay.

    A line that was written over, as progress bars do, is the last version of it.
    """
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _ORDERS.sub("", text).split("\n")]
    return "\n".join("".join(map(_printable_letter, line)) for line in lines)


def _printable_letter(letter: str) -> str:
    if letter.isprintable() or letter == "\t":
        return letter
    return letter.encode("unicode_escape").decode()


def error_line(raised: BaseException) -> str:
    """An exception in one line, even if its text cannot be told."""
    kind = type(raised).__name__
    try:
        text = str(raised).strip()
    except BaseException as another:  # its class is somebody else's
        text = f"(its text cannot be told: {type(another).__name__})"
    return one_line(f"{kind}: {text}" if text else kind)
