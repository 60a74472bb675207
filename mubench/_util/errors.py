"""The two errors that people cause; the command line shows their messages without a traceback.

Every other exception is a bug of the harness and ends as a traceback. So a ValueError of numpy or
pydantic is caught only around the one call that parses, never around our own arithmetic. Otherwise
a bug there would look like the user's mistake.
"""

from collections.abc import Sequence
from typing import Self


class UserError(ValueError):
    """A mistake of the user. The message says what is wrong and what to do."""

    @classmethod
    def of(cls, mistakes: Sequence[str], source: str) -> Self:
        """One error for all mistakes of one text, with one line per mistake.

        Args:
            mistakes: one message per mistake; each begins with the path of the wrong value.
            source: name of the text in the message.
        """
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        return cls("\n  ".join([f"{source} has {count}:", *mistakes]))


class DoesNotHold(UserError):  # noqa: N818 - a verdict
    """A record, a readout or a bundle is not what it states to be. The message says why."""

    @classmethod
    def mismatch(cls, field: str, stated: object, expected: object) -> Self:
        """An error for a field that contradicts the task or the readouts.

        Args:
            field: name of the field.
            stated: the value in the file.
            expected: the value that follows from the task or the readouts.
        """
        return cls(f"it states {field} = {stated}, and should state {expected}")
