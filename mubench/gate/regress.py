"""The gate of continuous integration: are new records worse or dearer than stored ones?

Records are paired by task, case, method, parameters and seed. Where the new ones have other seeds,
the means over seeds of each case are paired. Both sides are scored against the golds of the
baseline, so that golds trained anew elsewhere change nothing.

A method is worse where the mean difference over cases of delta, activation distance, label accuracy
or test accuracy exceeds the tolerance of `noise`, or where a run fails that did not. It is dearer
where its epochs-equivalent, summed over cases, exceeds the baseline's by more than a quarter, on
any machine. Seconds are compared only where the caller says that both ran in one job, on records
that state one device and one number of threads; half as much again is dearer.

Whatever is worse names the method, the measure, and the case that it is worst in.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.statistics import ROUNDING
from mubench.record.check import Checked, Results
from mubench.record.folder import gold_path
from mubench.record.readout import Arrays, read_arrays, same_case
from mubench.record.schema import Record
from mubench.record.stacked import Models

from .tolerance import QUALITY, CasePair, Side, tolerance

COSTS = (("epochs_equivalent", 1.25, 0.01), ("seconds", 1.5, 0.1))
"""Measure, the ratio to the baseline that is too dear, and the difference that is nothing."""


@dataclass(frozen=True)
class Finding:
    """One measure of one method, compared."""

    task: str
    method: str
    parameters: str
    """Digest, as in the names of the records."""
    measure: str
    cases: int
    worst_case: str
    is_regression: bool
    note: str
    baseline: float | None = None
    new: float | None = None
    change: float | None = None
    """Of quality the difference, above zero: worse. Of a cost the ratio."""
    tolerance: float | None = None
    """Largest change that is none; None: nothing can be concluded."""


@dataclass(frozen=True)
class Comparison:
    """Everything compared, and what could not be."""

    findings: tuple[Finding, ...]
    unpaired: tuple[str, ...]
    """Lines: what only one side has."""

    @property
    def regressions(self) -> list[Finding]:
        """What makes the gate fail."""
        return [finding for finding in self.findings if finding.is_regression]


def compare(
    baseline: Path, stored: Results, new: Path, fresh: Results, *, same_job: bool = False
) -> Comparison:
    """Compares two folders of records.

    Args:
        baseline: the folder of the stored records.
        stored: what was read from it.
        new: the folder of the new records.
        fresh: what was read from it.
        same_job: whether both ran in one job, so that seconds can be compared.

    Raises:
        UserError: they have no case of a method in common, or call different images one case.
    """
    before, after = _grouped(stored.checked), _grouped(fresh.checked)
    findings: list[Finding] = []
    unpaired: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, young = before.get(key, {}), after.get(key, {})
        for folder, only in ((baseline, old.keys() - young), (new, young.keys() - old)):
            if only:
                unpaired.append(f"{key.label}: {', '.join(sorted(only))} only in {folder}")
        cases = [
            _Case(case, *_common_seeds(old[case], young[case]))
            for case in sorted(old.keys() & young)
        ]
        findings += _failures(key, cases)
        if measured := [case for case in cases if case.is_measured]:
            findings += _quality(key, measured, baseline, new)
            findings += _costs(key, measured, same_job)
    if not any(before[key].keys() & after[key].keys() for key in before.keys() & after):
        raise UserError(
            f"{baseline} and {new} have no case of a method with the same parameters in common: "
            "run what the baseline holds with `mubench run --out`"
        )
    return Comparison(tuple(findings), tuple(unpaired))


class Key(NamedTuple):
    """What is compared with its like."""

    task: str
    method: str
    parameters: str

    @property
    def label(self) -> str:
        """What to call it in a line."""
        return f"{self.method} ({self.parameters}) on {self.task}"


def _grouped(checked: Iterable[Checked]) -> dict[Key, dict[str, list[Checked]]]:
    """By method, then by case."""
    groups: dict[Key, dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for one in checked:
        record = one.record
        key = Key(record.task, record.method, digest(record.parameters)[:8])
        groups[key][record.case].append(one)
    return groups


def _common_seeds(
    baseline: Sequence[Checked], new: Sequence[Checked]
) -> tuple[list[Checked], list[Checked]]:
    """The runs with seeds that both have; all, if there are none."""
    common = {c.record.seed for c in baseline} & {c.record.seed for c in new}
    sides = (
        sorted(
            (c for c in side if not common or c.record.seed in common), key=lambda c: c.record.seed
        )
        for side in (baseline, new)
    )
    return next(sides), next(sides)


@dataclass(frozen=True)
class _Case:
    """The runs of a case on both sides, in order of seeds."""

    name: str
    baseline: Sequence[Checked]
    new: Sequence[Checked]

    @property
    def is_measured(self) -> bool:
        """Whether both sides came to something."""
        return any(c.values for c in self.baseline) and any(c.values for c in self.new)

    @property
    def is_repeat(self) -> bool:
        """Whether only a change of code can have changed the numbers."""
        return [_conditions(c.record) for c in self.baseline] == [
            _conditions(c.record) for c in self.new
        ]

    def costs(self, measure: str) -> tuple[float, float]:
        """Mean over seeds, of the baseline and of the new."""
        means = [
            float(np.mean([c.values[measure] for c in side if c.values]))
            for side in (self.baseline, self.new)
        ]
        return means[0], means[1]


def _conditions(record: Record) -> tuple[object, ...]:
    """What repeats a run bit for bit, besides its code."""
    libraries = sorted((k, v) for k, v in record.versions.items() if k != "mubench")
    return record.seed, record.device, record.threads, record.precision, libraries


def _failures(key: Key, cases: Sequence[_Case]) -> Iterator[Finding]:
    """Runs that fail and did not."""
    for case in cases:
        failed = [c.record for c in case.new if not c.values]
        if failed and all(c.values for c in case.baseline):
            yield Finding(
                *key,
                measure="status",
                cases=1,
                worst_case=case.name,
                is_regression=True,
                note=f"{failed[0].status}: {failed[0].error}",
            )


def _quality(key: Key, cases: Sequence[_Case], baseline: Path, new: Path) -> Iterator[Finding]:
    pairs = [_scored(case, baseline, new) for case in cases]
    is_repeat = all(case.is_repeat for case in cases)
    for measure in QUALITY:
        difference = float(np.mean([pair.difference(measure) for pair in pairs]))
        limit = tolerance(pairs, measure, is_repeat=is_repeat)
        yield Finding(
            *key,
            measure=measure,
            cases=len(pairs),
            baseline=float(np.mean([pair.baseline.value(measure) for pair in pairs])),
            new=float(np.mean([pair.new.value(measure) for pair in pairs])),
            change=difference,
            tolerance=limit,
            worst_case=max(pairs, key=lambda pair: pair.difference(measure)).case,
            is_regression=limit is not None and difference > limit + ROUNDING,
            note="cannot tell: other seeds or machine" if limit is None else "",
        )


def _scored(case: _Case, baseline: Path, new: Path) -> CasePair:
    """Both sides against the baseline's golds."""
    record = next(c.record for c in case.baseline if c.values)
    golds = [_arrays(gold_path(baseline, record, gold)) for gold in record.golds]

    def side(folder: Path, runs: Sequence[Checked]) -> Side:
        readouts = [_arrays((folder / c.file).with_suffix(".npz")) for c in runs if c.values]
        if not all(same_case(readout, golds[0]) for readout in readouts):
            raise UserError(f"{case.name} of {record.task} has other images in {folder}")
        return Side.of(Models.of(readouts), Models.of(golds))

    old, fresh = side(baseline, case.baseline), side(new, case.new)
    return CasePair(case.name, old, fresh, Models.of(golds))


def _arrays(path: Path) -> Arrays:
    return read_arrays(path.read_bytes(), path.name)


def _costs(key: Key, cases: Sequence[_Case], same_job: bool) -> Iterator[Finding]:
    """Ratios of what the cases cost together."""
    for measure, limit, least in COSTS:
        costs = {case.name: case.costs(measure) for case in cases}
        old, fresh = np.mean(list(costs.values()), axis=0).tolist()
        note = _why_not_timed(cases, same_job) if measure == "seconds" else ""
        yield Finding(
            *key,
            measure=measure,
            cases=len(cases),
            baseline=old,
            new=fresh,
            change=fresh / old if old else None,
            tolerance=None if note else limit,
            worst_case=max(costs, key=lambda case: costs[case][1] - costs[case][0]),
            is_regression=not note and fresh > limit * old and fresh - old > least,
            note=note,
        )


def _why_not_timed(cases: Sequence[_Case], same_job: bool) -> str:
    if not same_job:
        return "not in one job"
    runs = [c.record for case in cases for c in (*case.baseline, *case.new)]
    machines = {(record.device, record.threads) for record in runs}
    return "" if len(machines) == 1 else "other device or threads"
