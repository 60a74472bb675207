"""What a sweep has found: a row per task and method, over all cells of the grid."""

from collections.abc import Sequence
from statistics import fmean

from mubench._util.tables import plain
from mubench.record.folder import ResultsFolder
from mubench.record.measures import MEASURES, stated_values
from mubench.record.schema import Record

from .grid import GridCell
from .jobs import Place
from .plan import head_in, method_label, varied_parameters

SHOWN = ("delta", "test_accuracy", "seconds", "retrain_share")
"""The measures of a row."""


def summary(cells: Sequence[GridCell], place: Place) -> str:
    """A table of the records that a grid has by now.

    Args:
        cells: the grid, or a part of it.
        place: where the records lie.
    """
    results = ResultsFolder(place.results)
    varied = varied_parameters(cells)
    groups: dict[tuple[str, str], list[Record | None]] = {}
    for loaded, cell in cells:
        row = loaded.task.name, method_label(cell, varied)
        found = results.earlier(head_in(place, loaded, cell))
        groups.setdefault(row, []).append(found)
    measures = [MEASURES[name] for name in SHOWN]
    rows = []
    for (task, method), records in groups.items():
        values = [stated_values(r.metrics, r.cost) for r in records if r and r.cost]
        means = [m.text(fmean(v[m.name] for v in values)) if values else "" for m in measures]
        rows.append([task, method, f"{len(values)} of {len(records)}", *means])
    headers = ["task", "method", "cells", *(measure.heading for measure in measures)]
    return f"{plain(rows, headers, 'llr' + 'r' * len(SHOWN))}\nMeans over cases and seeds."
