"""Measuring a published entry on forget sets that nobody has seen.

A method can bring along what it knows of published forget sets and golds, and a rerun on the same
sets confirms it. On another draw, such knowledge is worth nothing, and an honest method does about
as well as before.

The sets of a fresh draw are other cases, so no case comes out the same. What is compared is how far
an entry is from the floor, which is what golds score against each other on the same case. The mean
over the fresh cases must lie where a mean of so many new cases is expected, given how much the
published cases differ.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from mubench._util.errors import UserError
from mubench._util.hashing import derive_seed
from mubench._util.statistics import CASES_FOR_INTERVAL, ROUNDING, t_quantile
from mubench.gold.library import GoldLibrary
from mubench.record.check import Checked, read_results
from mubench.record.folder import ResultsFolder
from mubench.record.measures import MEASURES, Measure
from mubench.record.schema import Record
from mubench.task.spec import Task

from .isolation.host import Isolation
from .rerun import measure_published

FALSE_ALARMS = 0.01
"""Probability that an honest entry is complained of, over all of its measures."""


def on_fresh_draw(task: Task, chosen_by: str) -> Task:
    """The task with other forget sets of the same classes and sizes.

    Args:
        task: the task as published.
        chosen_by: a text that nobody knew when the records were made.

    Raises:
        UserError: the task forgets whole classes, of which there is one draw only.
    """
    if task.forget.kind == "class":
        raise UserError(f"{task.id} forgets whole classes, so it has no fresh draw")
    forget = task.forget.model_copy(update={"draw": derive_seed("fresh draw", chosen_by)})
    return task.model_copy(update={"forget": forget})


def measure_on(
    library: GoldLibrary, results: Path, record: Record, isolation: Isolation
) -> Checked:
    """Runs a published record's method on another draw of the record's forget set.

    Args:
        library: the task of `on_fresh_draw` and its models; the golds of the case must be cached.
        results: the folder of the published record.
        record: a record that holds.
        isolation: where the method runs.

    Raises:
        UserError: the method that was measured is not here.
    """
    # A folder per cell, because golds that lie there would be in reach of the next method.
    with tempfile.TemporaryDirectory() as name:
        folder = ResultsFolder(Path(name))
        measure_published(ResultsFolder(results), record, library, isolation, folder)
        read = read_results(folder.root, [library.loaded.task])
    assert not read.rejected, "what was measured just now holds"
    (checked,) = read.checked
    return checked


def compare_draws(
    published: Iterable[Checked], fresh: Iterable[Checked]
) -> tuple[list[str], list[str]]:
    """Compares entries on a fresh draw with what was published of them.

    Args:
        published: the published records that hold, of any entries.
        fresh: the records of some of these entries on the fresh draw.

    Returns:
        Lines that say how each entry did on both, and lines of complaint.
    """
    before, after = _by_entry(published), _by_entry(fresh)
    lines, complaints = [], []
    for entry, records in after.items():
        name = f"{entry[0]} {entry[1]}"
        failed = [one.record for one in records if not one.values]
        complaints += [
            f"{name}: on a fresh draw, {record.case} ends as {record.status} ({record.error})"
            for record in failed
            if any(one.values for one in before[entry] if one.record.case == record.case)
        ]
        old, new = ([one for one in all_ if one.values] for all_ in (before[entry], records))
        measures = [m for m in MEASURES.values() if m.better and _has_floor([*old, *new], m.name)]
        for measure in measures if old and new else ():
            line, complaint = _compare(measure, old, new, FALSE_ALARMS / len(measures))
            lines.append(f"{name}: {line}")
            complaints += [f"{name}: {complaint}"] if complaint else []
    return lines, complaints


def _by_entry(records: Iterable[Checked]) -> Mapping[tuple[str, str, str], list[Checked]]:
    found: dict[tuple[str, str, str], list[Checked]] = defaultdict(list)
    for one in records:
        found[one.record.task, one.record.method, one.record.parameters_id].append(one)
    return found


def _has_floor(records: Sequence[Checked], name: str) -> bool:
    return all(name in one.values and name in one.floor for one in records)


def _compare(
    measure: Measure, old: Sequence[Checked], new: Sequence[Checked], false_alarms: float
) -> tuple[str, str | None]:
    """One measure of an entry on both draws, as a line; and the complaint if there is one.

    Args:
        measure: what is compared.
        old: the published records of the entry.
        new: its records on the fresh draw.
        false_alarms: the probability of a complaint about an honest entry.
    """

    def told(records: Sequence[Checked]) -> str:
        value = measure.text(fmean(one.values[measure.name] for one in records))
        floor = measure.text(fmean(fmean(one.floor[measure.name]) for one in records))
        return f"{value} (floor {floor})"

    line = f"{measure.heading} {told(old)} published, {told(new)} on the fresh draw"
    before, after = _from_floor(measure.name, old), _from_floor(measure.name, new)
    if len(before) < CASES_FOR_INTERVAL:
        return f"{line}; too few cases to judge", None
    loss = measure.loss(fmean(before), fmean(after))
    spread = stdev(before) * math.sqrt(1 / len(before) + 1 / len(after))
    allowed = t_quantile(1 - false_alarms, len(before) - 1) * spread
    if loss <= allowed + ROUNDING:
        return line, None
    return line, (
        f"{line}: worse by {measure.text(loss, is_signed=False)} against the floor, where "
        f"{measure.text(allowed, is_signed=False)} would be within the noise of cases"
    )


def _from_floor(name: str, records: Sequence[Checked]) -> list[float]:
    """Per case, the value less the floor's, mean over seeds."""
    by_case: dict[str, list[float]] = defaultdict(list)
    for one in records:
        by_case[one.record.case].append(one.values[name] - fmean(one.floor[name]))
    return [fmean(values) for values in by_case.values()]
