"""Reading a folder of records: what holds is handed on, what does not is rejected by file name.

A record is believed as far as its readout bears it out:

- The readouts of the record and of its golds must have the hashes that the record states.
- Every number that follows from readouts, from counts of samples or from the task is computed
  again. A number that differs by more than rounding rejects the record.
- Readers of records use the recomputed numbers.
- Seconds and memory follow from nothing, so they are as stated.

Only thorough reading, which `mubench verify` and the check of an entry do, also holds membership
inference, the scores of a method's reports, counts and standard errors against
`mubench.record.metrics`. Otherwise every page would wait 0.1 seconds per record. So membership
inference is as stated, too.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mubench._util.arrays import Floats
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.hashing import sha256_of
from mubench.task.installed import installed_tasks
from mubench.task.spec import Task

from .audit.lira import Scores
from .audit.shadows import check_audit
from .folder import ResultsFolder, read_file, read_record, readout_beside
from .measures import MEASURES
from .readout import Arrays, Readout, parse_readout, read_arrays, same_case
from .rules import FullRecheck, TaskRules, compare_all
from .schema import UPDATE_LOG, GoldReference, Metric, Record
from .stacked import StackedReadouts, floor_values, recompute

TELLING = ("margin_distance", "activation_distance", "test_accuracy")
"""Scores by which two readouts are told to be of one original."""
SAME_ORIGINAL = 0.01
"""Most by which such a score of one original may differ between devices. Rounding moves a score by
a tenth of this, another training by ten times as much."""

MOST_LETTERS = 200
"""Most letters of a path that a message shows."""

CHUNK = 256
"""Most records that are computed together, so that memory stays small."""


@dataclass(frozen=True)
class Checked:
    """A record that holds."""

    file: str
    """Path of the record under the results folder, with slashes."""
    record: Record
    """What the file says."""
    values: Mapping[str, float]
    """The metrics as recomputed, and the cost: `seconds`, `retrain_share` (fraction of retraining's
    seconds), `epochs_equivalent`, `retrain_epochs_equivalent`. Each in its measure's own unit:
    deltas in percentage points, accuracies as fractions. Empty for a run that failed."""
    stderrs: Mapping[str, float]
    """Standard errors over samples of some metrics, in the metric's unit."""
    floor: Mapping[str, tuple[float, ...]]
    """Metric name to what each gold scores against the others, in the metric's unit; of a measure
    that is not recomputed, the mean over golds alone. Empty if the task has one gold."""
    nothing: Mapping[str, float]
    """The metrics of the original that the run started from, scored as if it were a method. Empty
    for a run that failed, and for records from before originals were scored."""
    margins_N: Floats | None
    """Margins of the true class on D_f, (N,): see `stacked.margins`. None for a run that failed."""
    scores: Scores | None = None
    """What the attack of the audit makes of the model. None: the record was not audited."""


@dataclass(frozen=True)
class Rejected:
    """A file that is not believed."""

    file: str
    """Path of the file under the results folder, with slashes."""
    reason: str
    """A sentence in which "it" is the file."""


@dataclass(frozen=True)
class Results:
    """What a folder of records holds, in the order of file names."""

    checked: tuple[Checked, ...]
    rejected: tuple[Rejected, ...]


class _Found(NamedTuple):
    """A record whose own content holds, its numbers not yet recomputed."""

    path: Path
    file: str
    """Path of the record under the results folder, with slashes."""
    record: Record


@dataclass(frozen=True)
class _Golds:
    """The golds of a case, ready to score against."""

    sample: Arrays
    """The readout of one gold, to tell whether another readout is of the same samples."""
    models: StackedReadouts
    floor: Mapping[str, tuple[float, ...]]
    """Metric name to what each gold scores against the others."""
    floor_means: Mapping[str, float]
    """Metric name to the mean over golds."""
    paths: Sequence[Path]
    """The files of the golds' readouts, in the order of records."""

    @property
    def num_forget(self) -> int:
        """|D_f|."""
        return int(self.models.right_RN.shape[1])

    @cached_property
    def whole(self) -> list[Readout]:
        """The readouts with their test logits, which audits need."""
        return [parse_readout(read_file(path), path.name) for path in self.paths]


def read_results(
    results: str | Path,
    tasks: Iterable[Task] | None = None,
    *,
    thorough: bool | Container[str] = False,
) -> Results:
    """Reads and checks every record of a folder.

    Args:
        results: the folder.
        tasks: the tasks whose records are believed. None: all that are installed.
        thorough: True to check also what no page prints; or the folders, as `<task>/<method>`,
            whose records are checked so.

    Raises:
        UserError: there is no such folder.
    """
    folder = ResultsFolder(Path(results))
    if not folder.root.is_dir():
        raise UserError(f"there is no folder of records {results}: `mubench run --out` makes one")
    rules = {task.id: TaskRules(task) for task in (installed_tasks() if tasks is None else tasks)}
    with _without_collecting():
        outcomes = _outcomes(folder, rules, thorough)
    outcomes = _reject_odd_originals(_reject_odd_golds(outcomes))
    outcomes = sorted(outcomes, key=lambda outcome: outcome.file)
    return Results(
        tuple(outcome for outcome in outcomes if isinstance(outcome, Checked)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, Rejected)),
    )


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Turns the garbage collector off, which would double the time.

    Because records are many small objects that all stay, the collector would find nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _outcomes(
    results: ResultsFolder, rules: Mapping[str, TaskRules], thorough: bool | Container[str]
) -> list[Checked | Rejected]:
    outcomes: list[Checked | Rejected] = []
    by_golds: dict[tuple[str, tuple[GoldReference, ...], bool], list[_Found]] = defaultdict(list)
    for path in results.records():
        file = "/".join(path.parts[-3:])
        home = file.rpartition("/")[0]
        is_thorough = thorough if isinstance(thorough, bool) else home in thorough
        try:
            record = read_record(path)
            _check_place(results, file, record)
            if record.task not in rules:
                raise DoesNotHold(f"it is of {record.task}, and there is no such task here")
            rules[record.task].check(record)
        except DoesNotHold as error:
            outcomes.append(Rejected(file, str(error)))
            continue
        if record.status == "ok":
            key = record.task, record.golds, is_thorough
            by_golds[key].append(_Found(path, file, record))
        else:
            outcomes.append(Checked(file, record, {}, {}, {}, {}, None))
    for (*_, is_thorough), records in by_golds.items():
        outcomes += _check_numbers(results, records, rules[records[0].record.task], is_thorough)
    return outcomes


def _check_place(results: ResultsFolder, file: str, record: Record) -> None:
    """Checks that the record has the name that follows from its content.

    Otherwise two files could be of one (case, seed, ...).
    """
    if (home := results.file(record)) != file:
        try:
            is_there = (results / home).is_file()
        except OSError:  # such as a name that is too long
            is_there = False
        relation = "a copy of" if is_there else "not where it belongs:"
        raise DoesNotHold(f"it is {relation} {home[:MOST_LETTERS]}")


def _check_numbers(
    results: ResultsFolder, records: Sequence[_Found], rules: TaskRules, thorough: bool
) -> Iterator[Checked | Rejected]:
    """Recomputes records of the same golds."""
    try:
        golds = _read_golds(results, records[0].record)
        referee = FullRecheck(results, records[0].record) if thorough else None
    except DoesNotHold as error:
        yield from (Rejected(found.file, str(error)) for found in records)
        return
    originals = _Originals(results, golds)
    for start in range(0, len(records), CHUNK):
        whole: list[_Found] = []
        readouts: list[Arrays] = []
        for found in records[start : start + CHUNK]:
            path, sha256 = readout_beside(found.path), found.record.readout_sha256
            try:
                readout = _read_readout(path, sha256, golds.sample)
            except DoesNotHold as error:
                yield Rejected(found.file, str(error))
            else:
                whole.append(found)
                readouts.append(readout)
        if not whole:
            continue
        models = StackedReadouts.of(readouts)
        values, stderrs = (_rows(part, len(whole)) for part in recompute(models, golds.models))
        for found, own, own_stderrs, margins_N in zip(
            whole, values, stderrs, models.margins_RN, strict=True
        ):
            record = found.record
            try:
                nothing = originals.values(record)
                scores = check_audit(results, record, golds.whole) if record.audit else None
                compare_all("", record.metrics, own)
                compare_all("floor ", record.floor, golds.floor_means)
                compare_all("nothing ", record.nothing, nothing)
                cost = rules.check_cost(record, golds.num_forget, golds.models.retain_total)
                if referee:
                    referee.check(record, readout_beside(found.path).read_bytes())
            except DoesNotHold as error:
                yield Rejected(found.file, str(error))
            else:
                values_here = own | cost | _as_stated(record.metrics)
                stated = {name: (value,) for name, value in _as_stated(record.floor).items()}
                floor = {**golds.floor, **stated}
                yield Checked(
                    found.file, record, values_here, own_stderrs, floor, nothing, margins_N, scores
                )


class _Originals:
    """What doing nothing scores on a case, computed once for each original."""

    def __init__(self, results: ResultsFolder, golds: _Golds):
        self._results = results
        self._golds = golds
        self._values: dict[str, dict[str, float]] = {}

    def values(self, record: Record) -> dict[str, float]:
        """The metrics of the original that a record started from, by name.

        Raises:
            DoesNotHold: the original's readout is missing, or another than the record states.
        """
        sha256 = record.nothing_readout_sha256
        if sha256 is None:  # a record from before originals were scored
            return {}
        if sha256 not in self._values:
            readout = _read_readout(self._results.original(record), sha256, self._golds.sample)
            computed, _ = recompute(StackedReadouts.of([readout]), self._golds.models)
            self._values[sha256] = _rows(computed, 1)[0]
        return self._values[sha256]


def _as_stated(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """The values of the measures that are not recomputed, as far as they are stated."""
    return {
        name: metrics[name].value
        for name, measure in MEASURES.items()
        if measure.is_stated and name in metrics
    }


def _rows(columns: Mapping[str, Floats], num_rows: int) -> list[dict[str, float]]:
    """Arrays by name, (R,), as one dict of numbers per row."""
    if not columns:
        return [{} for _ in range(num_rows)]
    rows = np.stack(list(columns.values()), axis=1).tolist()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _read_golds(results: ResultsFolder, record: Record) -> _Golds:
    readouts: list[Arrays] = []
    paths = results.golds(record)
    for gold, path in zip(record.golds, paths, strict=True):
        sample = readouts[0] if readouts else None
        readouts.append(_read_readout(path, gold.readout_sha256, sample))
    models = StackedReadouts.of(readouts)
    floor = floor_values(models)
    means = {name: float(np.mean(each)) for name, each in floor.items()}
    return _Golds(readouts[0], models, floor, means, paths)


def _read_readout(path: Path, sha256: str | None, sample: Arrays | None) -> Arrays:
    arrays = read_arrays(_read(path, sha256), path.name)
    if sample is not None and not same_case(arrays, sample):
        raise DoesNotHold(f"its readout {path.name} is of other samples than its golds'")
    return arrays


def _read(path: Path, sha256: str | None) -> bytes:
    if not path.exists():
        raise DoesNotHold(f"its readout {path.name} is missing")
    content = read_file(path)
    if sha256_of(content) != sha256:
        raise DoesNotHold(f"it was scored with another readout {path.name} than the one here")
    return content


def _reject_odd_golds(outcomes: Sequence[Checked | Rejected]) -> list[Checked | Rejected]:
    """Rejects records that were scored against other golds than most records of their case.

    Otherwise numbers of one case would be compared that are against different golds.
    """

    def reference(checked: Checked) -> tuple[str, ...]:
        golds = sorted(gold.readout_sha256 for gold in checked.record.golds)
        return (checked.record.forget_sha256, *golds)

    def case(checked: Checked) -> tuple[str, str]:
        return checked.record.task, checked.record.case

    counts: dict[tuple[str, str], Counter[tuple[str, ...]]] = defaultdict(Counter)
    for outcome in outcomes:
        if isinstance(outcome, Checked) and outcome.values:
            counts[case(outcome)][reference(outcome)] += 1
    usual = {key: min(count, key=lambda r: (-count[r], r)) for key, count in counts.items()}
    return [
        Rejected(
            outcome.file, f"it was scored against other golds than most of {outcome.record.case}"
        )
        if isinstance(outcome, Checked)
        and outcome.values
        and reference(outcome) != usual[case(outcome)]
        else outcome
        for outcome in outcomes
    ]


def _reject_odd_originals(outcomes: Sequence[Checked | Rejected]) -> list[Checked | Rejected]:
    """Rejects records whose original scores otherwise than in most records of that original.

    Otherwise an entry that starts from a worse original would close more of the gap. Devices round
    differently, so scores may differ by as much as that moves them. The original of a log of
    updates is trained where the log is made, and is held against those of other logs.
    """
    groups: dict[tuple[str, str, int, bool], list[Checked]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome, Checked) and outcome.nothing:
            record = outcome.record
            has_log = UPDATE_LOG in record.requires
            groups[record.task, record.case, record.original_seed, has_log].append(outcome)
    odd: dict[str, int] = {}
    for (*_, seed, _), group in groups.items():
        scores_CM = np.array([[one.nothing[name] for name in TELLING] for one in group])
        is_odd_C = (np.abs(scores_CM - np.median(scores_CM, axis=0)) > SAME_ORIGINAL).any(axis=1)
        odd |= {one.file: seed for one, is_odd in zip(group, is_odd_C, strict=True) if is_odd}
    return [
        Rejected(
            outcome.file,
            f"its original {odd[outcome.file]} scores otherwise than in most records of "
            f"{outcome.record.case}",
        )
        if isinstance(outcome, Checked) and outcome.file in odd
        else outcome
        for outcome in outcomes
    ]
