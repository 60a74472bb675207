"""The leaderboard as a table for programs: `leaderboard` is its Python door, `frame` makes it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mubench._util.statistics import MeanInterval
from mubench.record.again import Mark, marks
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder
from mubench.record.measures import MEASURES
from mubench.task.installed import installed_tasks
from mubench.task.spec import Task

from .ranking import Entry, TaskBoard, build
from .verdicts import P_VALUES


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


def frame(boards: Sequence[TaskBoard], marks: Mapping[str, Mark] = {}) -> pd.DataFrame:
    """The tables of the page for programs: one row per entry, every number unrounded.

    Args:
        boards: the board of each task.
        marks: path of a record under the folder of results to its mark, if it was measured again.

    Returns:
        A column per measure, in the unit of the record: accuracies as fractions, deltas in
        percentage points. `<measure>_interval` is half the width of the interval, in the same unit.
        `isolated` and `measured_again` count runs, of all `runs`; `parameters` are JSON.
    """
    rows: list[dict[str, object]] = []
    for board in boards:
        for entry in board.entries:
            rows.append({
                "task": board.task.id,
                "rank": entry.rank,
                "method": entry.label,
                "standing": str(entry.standing),
                **_judged(entry),
                **_numbers(entry.intervals),
                "access": entry.access,
                "cases": entry.num_cases,
                "seeds": entry.num_seeds[0],
                "runs": len(entry.records),
                "isolated": sum(one.record.isolated for one in entry.records),
                "measured_again": sum(one.file in marks for one in entry.records),
                "devices": "; ".join(sorted({one.record.device for one in entry.records})),
                "parameters": json.dumps(entry.parameters, sort_keys=True),
                "note": "; ".join(entry.notes),
            })  # fmt: skip
        if board.floor_intervals:
            floor = {"task": board.task.id, "method": "floor", "standing": "floor"}
            rows.append(floor | _numbers(board.floor_intervals) | {"cases": len(board.floor)})
    out = pd.DataFrame(rows)
    counts = ("rank", "cases", "seeds", "runs", "isolated", "measured_again")
    return out.astype({name: "Int64" for name in counts if name in out})


def _judged(entry: Entry) -> dict[str, object]:
    """Name to value, of what is shown of an entry; every p is adjusted for the number of entries.

    `gap_closed` is a share of the gap, `gap_closed_low` and `gap_closed_high` its 95% interval.
    """
    judgement = entry.judgement
    gap = judgement.gap_closed if judgement else None
    return {
        "verdict": str(judgement.verdict) if judgement else None,
        "keeps_model": judgement.keeps_model if judgement else None,
        "group": entry.group,
        "gap_closed": gap.value if gap else None,
        "gap_closed_low": gap.low if gap else None,
        "gap_closed_high": gap.high if gap else None,
        **{name: getattr(judgement, name, None) for name in P_VALUES},
    }


def _numbers(intervals: Mapping[str, MeanInterval]) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name in MEASURES:
        interval = intervals.get(name)
        numbers[name] = interval.mean if interval else None
        numbers[f"{name}_interval"] = interval.half_width if interval else None
    return numbers
