"""Reading a folder of records: what holds is handed on, what does not is rejected by file name.

A record is believed as far as its readout bears it out. Its readout and those of its golds must
have the hashes that it states, and every number in it that follows from them, from the counts of
samples or from the task is computed again: a number that differs by more than rounding rejects the
record. Readers of records use the recomputed numbers. Seconds and memory follow from nothing: they
are as stated.

Membership inference, the scores of a method's reports, and the counts and standard errors beside
the numbers would take 0.1 s a record and stand on no page: only `thorough` reading, which
`mubench verify` does, holds them against `metrics.score`.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mubench._util.arrays import Floats
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.hashing import sha256_of
from mubench.task.spec import TaskSpec

from .folder import gold_path, read_record, record_file
from .readout import Arrays, read_arrays, same_case
from .rules import Rules, Thorough, compare_all
from .schema import Record
from .stacked import Models, leave_one_out, recompute

CHUNK = 256
"""Most records computed together, so that memory stays small."""


@dataclass(frozen=True)
class Checked:
    """A record that holds."""

    file: str
    """Under the results folder."""
    record: Record
    values: Mapping[str, float]
    """Its metrics, recomputed, and `seconds`, `retrain_share` of them, `epochs_equivalent` and
    `retrain_epochs_equivalent`; empty for a run that failed."""
    stderrs: Mapping[str, float]
    """Standard errors over samples of some of them."""
    floor: Mapping[str, tuple[float, ...]]
    """The metrics of each gold against the others; empty when there is one gold."""


@dataclass(frozen=True)
class Rejected:
    """A file that is not believed."""

    file: str
    reason: str
    """A sentence in which "it" is the file."""


@dataclass(frozen=True)
class Results:
    """What a folder holds, both in order of file names."""

    checked: tuple[Checked, ...]
    rejected: tuple[Rejected, ...]


class _Found(NamedTuple):
    """A record whose own content holds, its numbers not yet recomputed."""

    path: Path
    file: str
    """Under the results folder."""
    record: Record


@dataclass(frozen=True)
class _Golds:
    """The golds of a case, ready to score against."""

    sample: Arrays
    """The readout of one, to tell whether another is of the same samples."""
    models: Models
    floor: Mapping[str, tuple[float, ...]]
    floor_means: Mapping[str, float]

    @property
    def num_forget(self) -> int:
        """Samples in D_f."""
        return int(self.models.right_RN.shape[1])


def read_results(results: Path, tasks: Iterable[TaskSpec], *, thorough: bool = False) -> Results:
    """Reads and checks every record of a folder.

    Args:
        results: the folder.
        tasks: those whose records are believed.
        thorough: check also what no page prints.

    Raises:
        UserError: there is no such folder.
    """
    if not results.is_dir():
        raise UserError(f"there is no folder of records {results}: `mubench run --out` makes one")
    rules = {task.id: Rules(task) for task in tasks}
    with _without_collecting():
        outcomes = _outcomes(results, rules, thorough)
    outcomes = sorted(_reject_odd_golds(outcomes), key=lambda outcome: outcome.file)
    return Results(
        tuple(outcome for outcome in outcomes if isinstance(outcome, Checked)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, Rejected)),
    )


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Records are many small objects that all stay: looking for garbage would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _outcomes(
    results: Path, rules: Mapping[str, Rules], thorough: bool
) -> list[Checked | Rejected]:
    outcomes: list[Checked | Rejected] = []
    by_golds: dict[tuple[object, ...], list[_Found]] = defaultdict(list)
    for path in results.glob("*/*/*.json"):
        if path.parent.name == "golds":
            continue
        file = "/".join(path.parts[-3:])
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
            by_golds[record.task, record.golds].append(_Found(path, file, record))
        else:
            outcomes.append(Checked(file, record, {}, {}, {}))
    for records in by_golds.values():
        outcomes += _check_numbers(results, records, rules[records[0].record.task], thorough)
    return outcomes


def _check_place(results: Path, file: str, record: Record) -> None:
    """A record's name follows from its content, so no two files are of one (case, seed, ...)."""
    if (home := record_file(record)) != file:
        relation = "a copy of" if (results / home).is_file() else "not where it belongs:"
        raise DoesNotHold(f"it is {relation} {home}")


def _check_numbers(
    results: Path, records: Sequence[_Found], rules: Rules, thorough: bool
) -> Iterator[Checked | Rejected]:
    """Recomputes records of the same golds."""
    try:
        golds = _read_golds(results, records[0].record)
        referee = Thorough(results, records[0].record) if thorough else None
    except DoesNotHold as error:
        yield from (Rejected(found.file, str(error)) for found in records)
        return
    for start in range(0, len(records), CHUNK):
        whole: list[_Found] = []
        readouts: list[Arrays] = []
        for found in records[start : start + CHUNK]:
            readout_path, sha256 = found.path.with_suffix(".npz"), found.record.readout_sha256
            try:
                readout = _read_readout(readout_path, sha256, golds.sample)
            except DoesNotHold as error:
                yield Rejected(found.file, str(error))
            else:
                whole.append(found)
                readouts.append(readout)
        if not whole:
            continue
        computed = recompute(Models.of(readouts), golds.models)
        values, stderrs = (_rows(part, len(whole)) for part in computed)
        for found, own, own_stderrs in zip(whole, values, stderrs, strict=True):
            record = found.record
            try:
                compare_all("", record.metrics, own)
                compare_all("floor ", record.floor, golds.floor_means)
                cost = rules.check_cost(record, golds.num_forget, golds.models.retain_total)
                if referee:
                    referee.check(record, found.path.with_suffix(".npz").read_bytes())
            except DoesNotHold as error:
                yield Rejected(found.file, str(error))
            else:
                yield Checked(found.file, record, own | cost, own_stderrs, golds.floor)


def _rows(columns: Mapping[str, Floats], num_rows: int) -> list[dict[str, float]]:
    """Arrays by name as a dict of numbers a row."""
    if not columns:
        return [{} for _ in range(num_rows)]
    rows = np.stack(list(columns.values()), axis=1).tolist()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _read_golds(results: Path, record: Record) -> _Golds:
    readouts: list[Arrays] = []
    for gold in record.golds:
        path = gold_path(results, record, gold)
        sample = readouts[0] if readouts else None
        readouts.append(_read_readout(path, gold.readout_sha256, sample))
    models = Models.of(readouts)
    floor: dict[str, tuple[float, ...]] = {}
    if len(readouts) > 1:
        scored = leave_one_out(models)
        names = dict.fromkeys(name for values in scored for name in values)
        floor = {n: tuple(float(values[n][0]) for values in scored if n in values) for n in names}
    means = {name: float(np.mean(each)) for name, each in floor.items()}
    return _Golds(readouts[0], models, floor, means)


def _read_readout(path: Path, sha256: str | None, sample: Arrays | None) -> Arrays:
    arrays = read_arrays(_read(path, sha256), path.name)
    if sample is not None and not same_case(arrays, sample):
        raise DoesNotHold(f"its readout {path.name} is of other samples than its golds'")
    return arrays


def _read(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DoesNotHold(f"its readout {path.name} is missing") from None
    except OSError as error:
        raise DoesNotHold(f"its readout {path.name} cannot be read: {error.strerror}") from None
    if sha256_of(content) != sha256:
        raise DoesNotHold(f"it was scored with another readout {path.name} than the one here")
    return content


def _reject_odd_golds(outcomes: Sequence[Checked | Rejected]) -> list[Checked | Rejected]:
    """Of a case, the records of one forget set and one set of golds: those that most name."""

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
