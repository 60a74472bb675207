"""The Python door to the leaderboard: a folder of records as a table for programs."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mubench.record.again import marks
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder
from mubench.task.installed import installed_tasks
from mubench.task.spec import Task

from .page import frame
from .ranking import build


def leaderboard(results: str | Path, tasks: Iterable[Task] | None = None) -> pd.DataFrame:
    """The tables of the leaderboard, one row per entry, every number unrounded.

    Each number is recomputed from readouts. A record that does not hold is left out;
    `read_results` tells which and why. `<measure>_interval` is half the width of the 95% interval
    over cases; accuracies are fractions, deltas are percentage points.

    Args:
        results: folder of records.
        tasks: the tasks whose records are believed. None: all that are installed.

    Raises:
        UserError: there is no such folder.
    """
    believed = list(tasks) if tasks is not None else installed_tasks()
    checked = read_results(Path(results), believed).checked
    return frame(build(checked, believed), marks(ResultsFolder(Path(results)), checked))
