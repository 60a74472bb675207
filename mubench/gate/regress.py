"""The gate of continuous integration: are new records worse or costlier than stored ones?

Records are paired by task, case, method, parameters and seed. If the new records have other seeds,
the means over seeds are paired, case by case. Both sides are scored against the golds of the
baseline. Otherwise golds that were trained anew elsewhere would change the numbers.

| a method is | if                                                                        |
|-------------|---------------------------------------------------------------------------|
| worse       | a measure of quality exceeds the tolerance of `mubench.gate.tolerance`:   |
|             | the mean over cases, or one case                                          |
| worse       | a run fails, and no run of that case failed before                        |
| costlier    | its mean cost over cases exceeds the baseline's by more than `COSTS` says |

Epochs-equivalent are compared on any machine. Seconds are compared only if the caller says that
both sides ran in one job, and all records state the same device and number of threads. Whatever
else runs there makes single runs slower, so seconds must exceed a bound from the spread of the
ratios of paired runs as well. It needs `PAIRS_FOR_SECONDS` pairs.

Each finding names the method, the measure, and the case in which the loss is largest.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mubench._util.errors import UserError
from mubench._util.statistics import ROUNDING, t_quantile
from mubench.record.check import Checked, Results
from mubench.record.folder import ResultsFolder, readout_beside
from mubench.record.readout import Arrays, read_arrays, same_case
from mubench.record.stacked import StackedReadouts

from .tolerance import CONFIDENCE, QUALITY, CasePair, Golds, Side, Tolerance

COSTS = (("epochs_equivalent", 1.25, 0.01), ("seconds", 1.5, 0.1))
"""Measure of cost, the largest ratio to the baseline that is no regression, and the largest
difference that is none, in the unit of the record. A regression exceeds both."""
PAIRS_FOR_SECONDS = 4
"""Fewest pairs of runs whose ratios tell how much seconds vary by themselves."""
SHORTEST_SECONDS = 1e-3
"""Shorter runs count as this long. What a clock says of less is noise."""


@dataclass(frozen=True)
class Finding:
    """One measure of one method, compared: over all cases, or in a case that is worse by itself."""

    task: str
    method: str
    parameters: str
    """The parameters in eight letters, as in the names of records."""
    measure: str
    """The name of the measure; `status` for a run that failed."""
    cases: int
    """Number of cases that were compared."""
    worst_case: str
    is_regression: bool
    note: str
    """Why nothing was concluded, how a run failed, or that a case is worse by itself; or empty."""
    baseline: float | None = None
    """Mean over cases, in the unit of the record; None for `status`."""
    new: float | None = None
    """The same of the new records."""
    change: float | None = None
    """For quality the loss, in the unit of the record, above zero if the new records are worse. For
    a cost the ratio of new to baseline; None if the baseline cost nothing."""
    tolerance: float | None = None
    """The largest change that is no regression. None: nothing can be concluded."""


@dataclass(frozen=True)
class Comparison:
    """All findings, and what could not be compared."""

    findings: tuple[Finding, ...]
    unpaired: tuple[str, ...]
    """One line per method with cases that only one side has."""

    @property
    def regressions(self) -> list[Finding]:
        """The findings that make the gate fail."""
        return [finding for finding in self.findings if finding.is_regression]


def compare(
    baseline: Path, stored: Results, new: Path, fresh: Results, *, same_job: bool = False
) -> Comparison:
    """Compares two folders of records.

    Args:
        baseline: the folder of the stored records.
        stored: what was read from `baseline`.
        new: the folder of the new records.
        fresh: what was read from `new`.
        same_job: True if both ran in one job, so that seconds can be compared.

    Raises:
        UserError: the folders have no case of a method in common, or they give different images the
            name of one case.
    """
    before, after = _grouped(stored.checked), _grouped(fresh.checked)
    findings: list[Finding] = []
    unpaired: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        stored_cases, fresh_cases = before.get(key, {}), after.get(key, {})
        for folder, only in (
            (baseline, stored_cases.keys() - fresh_cases),
            (new, fresh_cases.keys() - stored_cases),
        ):
            if only:
                unpaired.append(f"{key.label}: {', '.join(sorted(only))} only in {folder}")
        cases = [
            _RunsOfCase.of(case, stored_cases[case], fresh_cases[case])
            for case in sorted(stored_cases.keys() & fresh_cases)
        ]
        findings += _failures(key, cases)
        if measured := [case for case in cases if case.is_measured]:
            findings += _quality(key, measured, ResultsFolder(baseline), ResultsFolder(new))
            findings += _costs(key, measured, same_job)
    if not any(before[key].keys() & after[key].keys() for key in before.keys() & after):
        raise UserError(
            f"{baseline} and {new} have no case of a method with the same parameters in common: "
            "run what the baseline holds with `mubench run --out`"
        )
    return Comparison(tuple(findings), tuple(unpaired))


class Key(NamedTuple):
    """A method with its parameters on a task: what both sides must have to be compared."""

    task: str
    method: str
    parameters: str
    """The parameters in eight letters."""

    @property
    def label(self) -> str:
        """The words for the key in a line."""
        return f"{self.method} ({self.parameters}) on {self.task}"


def _grouped(checked: Iterable[Checked]) -> dict[Key, dict[str, list[Checked]]]:
    """Key to case to records."""
    groups: dict[Key, dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for one in checked:
        record = one.record
        key = Key(record.task, record.method, record.parameters_id)
        groups[key][record.case].append(one)
    return groups


def _common_seeds(
    baseline: Sequence[Checked], new: Sequence[Checked]
) -> tuple[list[Checked], list[Checked]]:
    """The runs whose seeds both sides have, in order of seeds; all runs if no seed is common."""
    common = {c.record.seed for c in baseline} & {c.record.seed for c in new}
    sides = (
        sorted(
            (c for c in side if not common or c.record.seed in common), key=lambda c: c.record.seed
        )
        for side in (baseline, new)
    )
    return next(sides), next(sides)


@dataclass(frozen=True)
class _RunsOfCase:
    """The runs of one case on both sides, in order of seeds."""

    name: str
    baseline: Sequence[Checked]
    new: Sequence[Checked]
    all_baseline: Sequence[Checked]
    """As `baseline`, with the seeds that the new records lack."""
    all_new: Sequence[Checked]
    """As `new`, with the seeds that the baseline lacks."""

    @classmethod
    def of(cls, name: str, baseline: Sequence[Checked], new: Sequence[Checked]) -> "_RunsOfCase":
        """The runs of a case, those that are compared and all.

        Args:
            name: the id of the case.
            baseline: the stored runs.
            new: the new runs.
        """
        return cls(name, *_common_seeds(baseline, new), baseline, new)

    @property
    def is_measured(self) -> bool:
        """True if both sides have a run that did not fail."""
        return any(c.values for c in self.baseline) and any(c.values for c in self.new)

    def costs(self, measure: str) -> tuple[float, float]:
        """The mean over seeds of a cost, in the unit of the record: baseline, then new."""
        means = [
            float(np.mean([c.values[measure] for c in side if c.values]))
            for side in (self.baseline, self.new)
        ]
        return means[0], means[1]

    def ratios(self) -> list[float]:
        """The seconds of new runs in those of the stored runs with the same seeds.

        Without a common seed, one ratio of the means.
        """
        before, after = (
            {c.record.seed: c.values["seconds"] for c in side if c.values}
            for side in (self.baseline, self.new)
        )
        pairs = [(before[seed], after[seed]) for seed in sorted(before.keys() & after)]
        return [
            max(new, SHORTEST_SECONDS) / max(old, SHORTEST_SECONDS)
            for old, new in pairs or [self.costs("seconds")]
        ]


def _failures(key: Key, cases: Sequence[_RunsOfCase]) -> Iterator[Finding]:
    """A finding per case in which a new run failed and no run of the baseline did."""
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


def _quality(
    key: Key, cases: Sequence[_RunsOfCase], baseline: ResultsFolder, new: ResultsFolder
) -> Iterator[Finding]:
    """A finding per measure of quality.

    Args:
        key: what is compared.
        cases: the cases that both sides measured, at least one.
        baseline: the folder of the stored records.
        new: the folder of the new records.
    """
    pairs = [_scored(case, baseline, new) for case in cases]
    for measure in QUALITY:
        tolerance = Tolerance(pairs, measure)
        limit = tolerance.of_mean()
        difference = float(tolerance.differences_C.mean())
        is_worse = limit is not None and difference > limit + ROUNDING
        yield Finding(
            *key,
            measure=measure,
            cases=len(pairs),
            baseline=float(np.mean([pair.baseline.value(measure) for pair in pairs])),
            new=float(np.mean([pair.new.value(measure) for pair in pairs])),
            change=difference,
            tolerance=limit,
            worst_case=max(pairs, key=lambda pair: pair.difference(measure)).case,
            is_regression=is_worse,
            note="cannot tell: too few cases and seeds" if limit is None else "",
        )
        if is_worse:
            continue
        for pair, case_limit in tolerance.worse_cases():
            yield Finding(
                *key,
                measure=measure,
                cases=1,
                baseline=pair.baseline.value(measure),
                new=pair.new.value(measure),
                change=pair.difference(measure),
                tolerance=case_limit,
                worst_case=pair.case,
                is_regression=True,
                note="in this case by itself",
            )


def _scored(case: _RunsOfCase, baseline: ResultsFolder, new: ResultsFolder) -> CasePair:
    """Both sides of a case, scored against the baseline's golds."""
    record = next(c.record for c in case.baseline if c.values)
    gold_arrays = [_arrays(path) for path in baseline.golds(record)]
    golds = Golds(StackedReadouts.of(gold_arrays))

    def stacked(folder: ResultsFolder, runs: Sequence[Checked]) -> StackedReadouts:
        readouts = [_arrays(readout_beside(folder / c.file)) for c in runs if c.values]
        if not all(same_case(readout, gold_arrays[0]) for readout in readouts):
            raise UserError(f"{case.name} of {record.task} has other images in {folder.root}")
        return StackedReadouts.of(readouts)

    def side(folder: ResultsFolder, runs: Sequence[Checked], every: Sequence[Checked]) -> Side:
        all_models = stacked(folder, every) if len(every) > len(runs) else None
        return Side.of(stacked(folder, runs), golds.models, all_models)

    return CasePair(
        case.name,
        side(baseline, case.baseline, case.all_baseline),
        side(new, case.new, case.all_new),
        golds,
    )


def _arrays(path: Path) -> Arrays:
    return read_arrays(path.read_bytes(), path.name)


def _costs(key: Key, cases: Sequence[_RunsOfCase], same_job: bool) -> Iterator[Finding]:
    """A finding per cost, which compares what all cases together cost."""
    for measure, limit, least in COSTS:
        costs = {case.name: case.costs(measure) for case in cases}
        old, fresh = np.mean(list(costs.values()), axis=0).tolist()
        note, bound = "", limit
        if measure == "seconds":
            ratios = [ratio for case in cases for ratio in case.ratios()]
            note = _why_not_timed(cases, len(ratios), same_job)
            bound = limit if note else limit * _noise(ratios)
        yield Finding(
            *key,
            measure=measure,
            cases=len(cases),
            baseline=old,
            new=fresh,
            change=fresh / old if old else None,
            tolerance=None if note else bound,
            worst_case=max(costs, key=lambda case: costs[case][1] - costs[case][0]),
            is_regression=not note and fresh > bound * old and fresh - old > least,
            note=note,
        )


def _why_not_timed(cases: Sequence[_RunsOfCase], num_pairs: int, same_job: bool) -> str:
    """The reason why seconds cannot be compared; empty if they can."""
    if not same_job:
        return "not in one job"
    runs = [c.record for case in cases for c in (*case.baseline, *case.new)]
    machines = {(record.device, record.threads) for record in runs}
    if len(machines) > 1:
        return "other device or threads"
    return "" if num_pairs >= PAIRS_FOR_SECONDS else "cannot tell: too few pairs of runs"


def _noise(ratios: Sequence[float]) -> float:
    """The factor by which noise alone may raise the mean of at least two ratios."""
    logs = np.log(ratios)
    stderr = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return math.exp(t_quantile(CONFIDENCE, len(logs) - 1) * stderr)
