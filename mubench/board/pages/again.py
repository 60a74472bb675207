"""How much of an entry the keepers of the page have measured again."""

from collections.abc import Mapping

from mubench.board.ranking import Entry
from mubench.record.again import Mark

CANNOT_BE_TOLD = """\
- **What a record cannot show**: seconds, memory, counts of samples and isolation are as whoever
  measured states them, and readouts that fit each other can be made up; only measuring again tells.
"""

MEASURED_AGAIN = """\
- **measured again**: the runs of an entry that the keepers of this page have measured again, of all
  its runs. A text that nobody knew before chose them, such as the name of the commit that merged
  the entry. A run that differs did not come out the same.
"""

NONE_YET = "- **measured again**: no run on this page was measured again by its keepers so far.\n"


def measured_again(entry: Entry, marks: Mapping[str, Mark]) -> str:
    """How many runs of an entry were measured again, as in `2 of 10, 1 differs`.

    Args:
        entry: the entry.
        marks: path of a record under the folder of results to its mark.
    """
    own = [marks[one.file] for one in entry.records if one.file in marks]
    text = f"{len(own)} of {len(entry.records)}"
    if differing := sum(bool(mark.differences) for mark in own):
        text += f", {differing} differ" + "s" * (differing == 1)
    return text


def explanation(marks: Mapping[str, Mark]) -> str:
    """What readers of the page must know about it, as points of a list."""
    return CANNOT_BE_TOLD + (MEASURED_AGAIN if marks else NONE_YET)
