"""From checked records to the board: the entries of each task, their means, who ranks where.

An entry is one method with one set of parameters on one task. The number of an entry is the mean
over cases of the mean over seeds, with Student's t interval over the cases. Because a claim about a
method generalises over cases, the interval is over them, with seeds nested in cases.

The first line of this table that fits an entry decides where the entry stands:

| standing      | the entry                                                          |
|---------------|--------------------------------------------------------------------|
| `CONTROL`     | is a control                                                       |
| `OVER_BUDGET` | has a run that cost more than the budget                           |
| `FAILED`      | has a run that failed                                              |
| `PROVISIONAL` | lacks a case of the task, or seeds that the task asks for          |
| `RANKED`      | is none of these; only these entries have ranks                    |

Ranked entries stand in this order:

1. By the sample test. An entry fails if its label gain (label accuracy less that of the better
   constant guess) lies below zero with the whole interval. Such an entry knows less about which
   samples are hard than calling all of them easy, or all of them hard. So it stands after all
   entries that pass, whatever its delta.
2. By delta, lowest first.

Ranks are shared. The first entry leads rank 1. The entries after a leader share the leader's rank
up to the first whose delta can be told apart from the leader's, by the paired interval of their
difference over the cases. That entry leads the next rank, whose number is the entry's position. So
ranks never contradict the order, and no entry shares the rank of a leader that beats it. The first
entry that fails the sample test leads a rank of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from mubench._util.hashing import digest
from mubench._util.statistics import MeanInterval, mean_intervals, paired_interval
from mubench.record.check import Checked
from mubench.record.flags import Flag
from mubench.record.measures import MEASURES
from mubench.task.spec import Task


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
    """The name of the entry: the method's, followed by the parameters that are unusual."""
    method: str
    parameters: Mapping[str, Any]
    records: Sequence[Checked]
    standing: Standing
    case_means: Mapping[str, Mapping[str, float]]
    """Measure to case to mean over seeds, in the measure's unit; empty if every run failed."""
    intervals: Mapping[str, MeanInterval]
    """Measure to mean over cases, in the measure's unit; empty if every run failed."""
    notes: tuple[str, ...] = ()
    """What readers must know, in a few words per note."""
    rank: int | None = None
    """The rank from 1, which entries may share; None for an entry that is not ranked."""
    is_provisional: bool = False
    """True if cases or seeds are missing, and no run failed or went over budget. Controls can be
    provisional too."""

    @property
    def passes_sample_test(self) -> bool:
        """True if the label gain does not lie below zero with the whole interval."""
        gain = self.intervals.get("label_gain")
        return gain is not None and not gain.is_below_zero

    @property
    def access(self) -> str:
        """The access that the method declared, as a list in words."""
        return ", ".join(sorted({name for c in self.records for name in c.record.requires}))

    @property
    def failures(self) -> list[Checked]:
        """The runs that failed."""
        return [checked for checked in self.records if not checked.values]

    @property
    def num_cases(self) -> int:
        """Cases with a run that did not fail."""
        return len({c.record.case for c in self.records if c.values})

    @property
    def num_seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a case, without runs that failed."""
        counts = Counter(c.record.case for c in self.records if c.values).values()
        return (min(counts), max(counts)) if counts else (0, 0)

    @property
    def flags(self) -> dict[str, int]:
        """Flag to the number of runs with that flag, in name order.

        A control has no budget, so `over-budget` is no flag of a control.
        """
        counts = Counter(flag for one in self.records for flag in one.record.flags)
        if self.is_control:
            del counts[Flag.OVER_BUDGET]
        return dict(sorted(counts.items()))

    @property
    def is_control(self) -> bool:
        """True if a run declared the method a control."""
        return any(one.record.control for one in self.records)


@dataclass(frozen=True)
class TaskBoard:
    """A task with its entries in the order of the page."""

    task: Task
    entries: tuple[Entry, ...]
    floor: Mapping[str, Mapping[str, Sequence[float]]]
    """Case to metric to the value of each gold against the other golds, in the metric's unit."""
    floor_intervals: Mapping[str, MeanInterval]
    """Metric to the mean over cases of the mean over golds, in the metric's unit."""

    @property
    def all_easy_rates(self) -> dict[str, float]:
        """Measured case to the fraction of D_f on which golds are right, mean over golds."""
        return {
            case: rate
            for entry in self.entries
            for case, rate in sorted(entry.case_means.get("all_easy_rate", {}).items())
        }

    def floor_means(self, measure: str) -> dict[str, float]:
        """Case to the mean over golds of a measure, in the measure's unit."""
        return {case: float(np.mean(metrics[measure])) for case, metrics in self.floor.items()}

    def by_size(self, values: Mapping[str, float]) -> dict[int, list[float]]:
        """The values of cases, grouped by |D_f| in rising order.

        Args:
            values: case to value, on a task whose cases have sizes.
        """
        out: dict[int, list[float]] = defaultdict(list)
        for case, value in values.items():
            size = self.task.case(case).size
            assert size is not None, "a whole class has no size that the spec knows"
            out[size].append(value)
        return dict(sorted(out.items()))


def build(checked: Sequence[Checked], tasks: Iterable[Task]) -> list[TaskBoard]:
    """The boards of all tasks that have records.

    Args:
        checked: the records that hold.
        tasks: the tasks in any order.

    Returns:
        Tasks with one size of D_f first, then those with several, both in name order.
    """
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


def _labels(checked: Sequence[Checked]) -> list[str]:
    """The label of each record's entry: the method's name, or that with unusual parameters.

    Because a record does not say which parameters are defaults, the usual set of parameters is the
    one with the most records. Of sets with equally many, the one that was measured first is usual.
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
    """Nested parameters under dotted names.

    Args:
        parameters: as a record has them.
        group: the dotted name before each parameter's own, with a dot at its end.
    """
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
    """(task, label) to a frame with a row per case and a column per measure, mean over seeds."""
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


def _entry(task: Task, label: str, records: Sequence[Checked], means: pd.DataFrame) -> Entry:
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
        intervals=mean_intervals(list(MEASURES), means.to_numpy()) if len(means) else {},
    )
    notes = []
    if entry.intervals and not entry.passes_sample_test:
        notes.append("fails the sample test")
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
    if Flag.OVER_BUDGET in entry.flags:
        standing = Standing.OVER_BUDGET
        notes.append(str(standing))
    notes += [
        f"{flag} in {count} of {len(records)} runs"
        for flag, count in entry.flags.items()
        if flag != Flag.OVER_BUDGET
    ]
    if exposed := sum(not one.record.isolated for one in records):
        notes.append(f"not isolated in {exposed} of {len(records)} runs")
    if len(sources := {one.record.source_sha256 for one in records}) > 1:
        notes.append(f"{len(sources)} versions of its code")
    is_provisional = standing is Standing.PROVISIONAL
    if entry.is_control:
        standing = Standing.CONTROL
    return replace(entry, standing=standing, notes=tuple(notes), is_provisional=is_provisional)


def _ranked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries in the order of the page, with ranks."""

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
    """True if an entry cannot be told apart from the leader of a rank before it."""
    if leader.passes_sample_test != entry.passes_sample_test:
        return False
    difference = paired_interval(entry.case_means["delta"], leader.case_means["delta"])
    return not difference.excludes_zero


def _floor(
    checked: Sequence[Checked],
) -> tuple[dict[str, Mapping[str, Sequence[float]]], dict[str, MeanInterval]]:
    """The two fields of a board that say what golds score: per case, and over the cases."""
    by_case = {one.record.case: one.floor for one in checked if one.floor}
    names = [name for name in MEASURES if all(name in floor for floor in by_case.values())]
    if not by_case:
        return {}, {}
    values_CM = np.array([[np.mean(f[name]) for name in names] for f in by_case.values()])
    return dict(by_case), mean_intervals(names, values_CM)
