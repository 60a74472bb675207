"""The two errors that people cause, apart from those that the harness causes.

Whatever else is raised is a bug of the harness, and ends as a traceback. So numpy's and pydantic's
ValueErrors are never caught around our own arithmetic, only around the one call that parses.
"""

from collections.abc import Sequence
from typing import Self


class UserError(ValueError):
    """A mistake of the user's; the message says what is wrong and what to do."""

    @classmethod
    def of(cls, mistakes: Sequence[str], source: str) -> Self:
        """All mistakes of one text in one error, one line per mistake.

        Args:
            mistakes: each begins with the path of what is wrong.
            source: what to call the text.
        """
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        return cls("\n  ".join([f"{source} has {count}:", *mistakes]))


class DoesNotHold(UserError):  # noqa: N818 - a verdict
    """A file is not what it says it is: a record, a readout, a bundle. The message says why."""

    @classmethod
    def mismatch(cls, field: str, stated: object, expected: object) -> Self:
        """A field that says something else than follows from the task or the readouts."""
        return cls(f"it states {field} = {stated}, and should state {expected}")
