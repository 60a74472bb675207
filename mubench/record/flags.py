"""Flags of a record: what a reader must know before believing it.

A flag is no verdict. A control is a no-op on purpose, and a method that changes nothing but the
statistics of batch norm may say so in its paper.
"""

from enum import StrEnum


class Flag(StrEnum):
    """A flag, with its meaning in one sentence."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "Flag":
        """A flag by the word that stands in records."""
        flag = str.__new__(cls, value)
        flag._value_ = value
        flag.meaning = meaning
        return flag

    OVER_BUDGET = "over-budget", "The run cost more than the task's budget, so it is not ranked."
    UNCOUNTED_WORK = (
        "uncounted-work",
        "Much of the work went past the networks that the meter watches; operations give its cost.",
    )
    NO_OP = "no-op", "The outputs are the original's, but for rounding."
    BN_ONLY = (
        "bn-only",
        "The outputs are the original's with other running statistics of batch norm.",
    )
    ONE_CLASS = "one-class", "Every test image is predicted to be of one class."
    GOLD_COPY = "gold-copy", "The outputs are those of one of the golds."
    LEFT_PROCESSES = "left-processes", "Processes of the method outlived its run and were ended."
    LEFT_FILES = (
        "left-files",
        "New files or shared memory of this user were in shared folders after the run, which had "
        "none of its own.",
    )
