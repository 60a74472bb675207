"""From checked records to the board: the entries of each task, their means, who ranks where.

An entry is one method with one set of parameters on one task. Its number is the mean over cases of
the mean over seeds, with Student's t interval over the cases: the cases are what a claim about a
method generalises over, and seeds are nested in them.

An entry is ranked if it is no control, no run of it failed or went over budget, and it has every
case of the task with as many seeds as the task asks for; else it is provisional. The order:

1. The sample test. An entry whose label gain (label accuracy less that of the better constant
   guess) lies below zero with its whole interval knows less about which samples are hard than
   calling all of them easy, or all of them hard, does: whatever its delta, it stands after all that
   pass.
2. Delta, lowest first.

Ranks are shared. The first entry leads rank 1; those that follow share it up to the first whose
delta can be told apart from the leader's, by the paired interval of their difference over the
cases; that one leads the next rank, which is its position. So ranks never contradict the order, and
no entry shares the rank of a leader that beats it. The first that fails the sample test leads a
rank of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from mubench._util.hashing import digest
from mubench._util.statistics import Interval, mean_intervals, paired_interval
from mubench.record.check import Checked
from mubench.task.spec import TaskSpec

MEASURES = (
    "delta", "delta_signed", "test_accuracy", "activation_distance", "label_accuracy",
    "all_easy_rate", "label_gain", "seconds", "retrain_share", "epochs_equivalent",
    "retrain_epochs_equivalent",
)  # fmt: skip
"""What is averaged of an entry."""


class Standing(StrEnum):
    """Why an entry has a rank or has none, in the order of the page."""

    RANKED = "ranked"
    OVER_BUDGET = "over budget"
    FAILED = "failed"
    PROVISIONAL = "provisional"
    CONTROL = "control"


@dataclass(frozen=True)
class Entry:
    """One method with one set of parameters on one task."""

    label: str
    method: str
    parameters: Mapping[str, Any]
    records: Sequence[Checked]
    standing: Standing
    case_means: Mapping[str, Mapping[str, float]]
    """Measure to case to mean over seeds; empty when every run failed."""
    intervals: Mapping[str, Interval]
    """Measure to mean over cases."""
    notes: tuple[str, ...] = ()
    rank: int | None = None
    is_provisional: bool = False
    """Whether it lacks cases or seeds, none of its runs having failed; controls may too."""

    @property
    def passes_sample_test(self) -> bool:
        """Whether it may know which samples are hard."""
        gain = self.intervals.get("label_gain")
        return gain is not None and not gain.is_below_zero

    @property
    def access(self) -> str:
        """What the method was given."""
        return ", ".join(sorted({name for c in self.records for name in c.record.requires}))

    @property
    def failures(self) -> list[Checked]:
        """Its runs that came to nothing."""
        return [checked for checked in self.records if not checked.values]

    @property
    def num_cases(self) -> int:
        """Cases measured."""
        return len({c.record.case for c in self.records if c.values})

    @property
    def num_seeds(self) -> tuple[int, int]:
        """Fewest and most seeds of a case."""
        counts = Counter(c.record.case for c in self.records if c.values).values()
        return (min(counts), max(counts)) if counts else (0, 0)


@dataclass(frozen=True)
class TaskBoard:
    """A task with its entries in the order of the page."""

    task: TaskSpec
    entries: tuple[Entry, ...]
    floor: Mapping[str, Mapping[str, Sequence[float]]]
    """Case to metric to each gold's value against the other golds."""
    floor_intervals: Mapping[str, Interval]
    """Of the mean over golds, over the cases."""

    @property
    def all_easy_rates(self) -> dict[str, float]:
        """Measured case to the share of D_f on which its golds are right, mean over golds."""
        return {
            case: rate
            for entry in self.entries
            for case, rate in sorted(entry.case_means.get("all_easy_rate", {}).items())
        }

    def floor_means(self, measure: str) -> dict[str, float]:
        """Case to mean over the golds."""
        return {case: float(np.mean(metrics[measure])) for case, metrics in self.floor.items()}


def build(checked: Sequence[Checked], tasks: Iterable[TaskSpec]) -> list[TaskBoard]:
    """The boards of all tasks that have records: of one size, then over sizes; in name order."""
    labels = _labels(checked)
    by_entry: dict[str, dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for one, label in zip(checked, labels, strict=True):
        by_entry[one.record.task][label].append(one)
    means = _case_means(checked, labels)
    boards = []
    for task in sorted(tasks, key=lambda task: (len(task.forget.sizes) > 1, task.id)):
        entries = [
            _entry(task, label, records, means.get((task.id, label), pd.DataFrame()))
            for label, records in by_entry.get(task.id, {}).items()
        ]
        if entries:
            own = [one for records in by_entry[task.id].values() for one in records]
            boards.append(TaskBoard(task, _ranked(entries), *_floor(own)))
    return boards


def by_size(values: Mapping[str, float]) -> dict[int, list[float]]:
    """The values of cases as those of each size; a case of a task with sizes ends in its own."""
    out: dict[int, list[float]] = {}
    for case, value in values.items():
        out.setdefault(case_size(case), []).append(value)
    return dict(sorted(out.items()))


def case_size(case: str) -> int:
    """Samples in D_f of a case of a task with sizes."""
    return int(case.rpartition("-")[2])


def _labels(checked: Sequence[Checked]) -> list[str]:
    """The name of each record's entry: the method's own, or with the parameters that differ.

    A record does not say which parameters are defaults. The set with the most records, of equals
    the one measured first, has the method's own name.
    """
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[str, str]] = {}
    parameters: dict[tuple[str, str], dict[str, Any]] = {}
    identities = [(one.record.method, digest(one.record.parameters)) for one in checked]
    for one, identity in zip(checked, identities, strict=True):
        if identity not in counts:
            parameters[identity] = _flat(one.record.parameters)
        counts[identity] += 1
        started = (one.record.started_at, one.file)
        first[identity] = min(first.get(identity, started), started)
    labels = {}
    usual: dict[str, tuple[str, str]] = {}
    for identity in sorted(counts, key=lambda i: (-counts[i], first[i])):
        method = identity[0]
        base, own = parameters[usual.setdefault(method, identity)], parameters[identity]
        changed = [
            f"{name}={own.get(name, 'unset')}"
            for name in sorted(base.keys() | own.keys())
            if own.get(name, "unset") != base.get(name, "unset")
        ]
        labels[identity] = f"{method} ({', '.join(changed)})" if changed else method
    return [labels[identity] for identity in identities]


def _flat(parameters: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Nested parameters under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{group}{name}.")
        else:
            flat[group + name] = value
    return flat


def _case_means(
    checked: Sequence[Checked], labels: Sequence[str]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Task and label to measures by case, each the mean over seeds."""
    measured = [(one, label) for one, label in zip(checked, labels, strict=True) if one.values]
    frame = pd.DataFrame(
        [[one.values[name] for name in MEASURES] for one, _ in measured], columns=list(MEASURES)
    )
    keys = pd.MultiIndex.from_tuples(
        [(one.record.task, label, one.record.case) for one, label in measured],
        names=["task", "label", "case"],
    )
    means = frame.set_index(keys).groupby(level=[0, 1, 2], sort=False).mean()
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, (task, label, _) in enumerate(means.index):
        rows[task, label].append(row)
    by_case = means.droplevel([0, 1])
    return {key: by_case.iloc[own] for key, own in rows.items()}


def _entry(task: TaskSpec, label: str, records: Sequence[Checked], means: pd.DataFrame) -> Entry:
    entry = Entry(
        label=label,
        method=records[0].record.method,
        parameters=records[0].record.parameters,
        records=records,
        standing=Standing.RANKED,
        case_means={
            str(name): {str(case): float(value) for case, value in means[name].items()}
            for name in means
        },
        intervals=mean_intervals(MEASURES, means.to_numpy()) if len(means) else {},
    )
    notes = []
    fails_test = bool(entry.intervals) and not entry.passes_sample_test
    notes += ["fails the sample test"] * fails_test
    standing = Standing.RANKED
    wanted = task.measure.seeds
    if entry.num_cases < task.num_cases:
        standing = Standing.PROVISIONAL
        notes.append(f"{entry.num_cases} of {task.num_cases} cases")
    elif entry.num_seeds[0] < wanted:
        standing = Standing.PROVISIONAL
        notes.append(f"{entry.num_seeds[0]} of {wanted} seeds")
    if failures := entry.failures:
        standing = Standing.FAILED
        kinds = Counter(one.record.status for one in failures)
        notes += [f"{count} x {kind}" for kind, count in sorted(kinds.items())]
    is_control = any(one.record.control for one in records)
    if not is_control and any("over-budget" in one.record.flags for one in records):
        standing = Standing.OVER_BUDGET
        notes.append("over budget")
    flags = Counter(flag for one in records for flag in one.record.flags)
    notes += [
        f"{flag} in {count} of {len(records)} runs"
        for flag, count in sorted(flags.items())
        if flag != "over-budget"
    ]
    if exposed := sum(not one.record.isolated for one in records):
        notes.append(f"not isolated in {exposed} of {len(records)} runs")
    if len(sources := {one.record.source_sha256 for one in records}) > 1:
        notes.append(f"{len(sources)} versions of its code")
    is_provisional = standing is Standing.PROVISIONAL
    if is_control:
        standing = Standing.CONTROL
    return replace(entry, standing=standing, notes=tuple(notes), is_provisional=is_provisional)


def _ranked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """In the order of the page, with ranks."""

    def order(entry: Entry) -> tuple[Any, ...]:
        delta = entry.intervals["delta"].mean if entry.intervals else float("inf")
        group = list(Standing).index(entry.standing)
        return group, not entry.passes_sample_test, delta, entry.label

    out: list[Entry] = []
    leader: Entry | None = None
    for position, entry in enumerate(sorted(entries, key=order), 1):
        if entry.standing is not Standing.RANKED:
            out.append(entry)
            continue
        if leader is None or not _shares_rank(leader, entry):
            leader = entry = replace(entry, rank=position)
        out.append(replace(entry, rank=leader.rank))
    return tuple(out)


def _shares_rank(leader: Entry, entry: Entry) -> bool:
    if leader.passes_sample_test != entry.passes_sample_test:
        return False
    difference = paired_interval(entry.case_means["delta"], leader.case_means["delta"])
    return not difference.excludes_zero


def _floor(
    checked: Sequence[Checked],
) -> tuple[dict[str, Mapping[str, Sequence[float]]], dict[str, Interval]]:
    """Of each case, and over the cases."""
    by_case = {one.record.case: one.floor for one in checked if one.floor}
    names = [name for name in MEASURES if all(name in floor for floor in by_case.values())]
    if not by_case:
        return {}, {}
    values_CM = np.array([[np.mean(f[name]) for name in names] for f in by_case.values()])
    return dict(by_case), mean_intervals(names, values_CM)
