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
| `RANKED`      | is none of these                                                   |

`RANKED` entries stand in the order of `verdicts.Judgement`:

1. Entries that are better than doing nothing and keep the model, by the share of the gap that they
   close. Only these have ranks. Entries that cannot be told apart share a letter.
2. Entries that are better than doing nothing and lose accuracy.
3. Entries that are not shown to be better than doing nothing, whatever their delta. Those that keep
   the model come first.
4. Entries that are worse than doing nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from mubench._util.hashing import digest
from mubench._util.statistics import MeanInterval, mean_intervals
from mubench.record.check import Checked
from mubench.record.flags import Flag
from mubench.record.folder import OURS
from mubench.record.measures import MEASURES
from mubench.record.schema import dotted
from mubench.task.spec import Task

from .hypotheses import SIGNIFICANCE, can_show
from .verdicts import UNJUDGED, Evidence, Judgement, groups, judge, least_gap_difference

JUDGED = (
    "gold_test_accuracy", "nothing_margin_distance", "nothing_activation_distance",
    "nothing_label_gain", "margin_signed",
)  # fmt: skip
"""What verdicts rest on besides measures, as columns of the means over seeds."""


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
    judgement: Judgement | None = None
    """What is shown of the entry. None if cases are missing, or too few to show anything."""
    group: str = ""
    """Letters of a ranked entry; two entries that share a letter cannot be told apart."""
    notes: tuple[str, ...] = ()
    """What readers must know, in a few words per note."""
    rank: int | None = None
    """The place from 1 among the entries that pass; None for all others."""
    is_provisional: bool = False
    """True if cases or seeds are missing, and no run failed or went over budget. Controls can be
    provisional too."""

    @property
    def passes(self) -> bool:
        """True if the entry is better than doing nothing and keeps the model."""
        return self.judgement is not None and self.judgement.passes

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
    least_difference: float | None
    """The least difference between two ranked entries that could have been told, in gap closed."""

    @property
    def all_easy_rates(self) -> dict[str, float]:
        """Measured case to the fraction of D_f on which golds are right, mean over golds."""
        return {
            case: rate
            for entry in self.entries
            for case, rate in sorted(entry.case_means.get("all_easy_rate", {}).items())
        }

    def measured_entries(self, method: str) -> tuple[Entry, ...]:
        """The entries of a method with a run that did not fail."""
        return tuple(e for e in self.entries if e.method == method and e.intervals)

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
        Tasks with enough cases to show anything first; of these and of the others, those with one
        size of D_f before those with several, and all in name order.
    """
    by_task: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(checked):
        by_task[one.record.task].append(number)
    labels = [""] * len(checked)
    for numbers in by_task.values():
        named = _labels([checked[number] for number in numbers])
        for number, label in zip(numbers, named, strict=True):
            labels[number] = label
    by_entry: dict[str, dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for one, label in zip(checked, labels, strict=True):
        by_entry[one.record.task][label].append(one)
    means = _case_means(checked, labels, _nothing(checked))
    boards = []

    def place(task: Task) -> tuple[bool, bool, str]:
        return not can_show(task.num_cases), len(task.forget.sizes) > 1, task.id

    for task in sorted(tasks, key=place):
        entries = [
            _entry(task, label, records, means.get((task.id, label), pd.DataFrame()))
            for label, records in by_entry.get(task.id, {}).items()
        ]
        if entries:
            own = [one for records in by_entry[task.id].values() for one in records]
            floor, floor_intervals = _floor(own)
            evidence = _evidence(task, entries, floor)
            ranked = _ranked(entries, evidence)
            least = least_gap_difference([evidence[e.label] for e in ranked if e.rank])
            boards.append(TaskBoard(task, ranked, floor, floor_intervals, least))
    return boards


def _labels(checked: Sequence[Checked]) -> list[str]:
    """The label of each record's entry, of the records of one task.

    It is `method (preset)` if the parameters are those of a preset. The bare name belongs to the
    defaults. Other parameters stand behind the name, as far as they differ from the defaults.

    Older records do not say what the defaults are. There the usual set of parameters takes their
    place: the one with the most records. Of sets with equally many, the one that was measured
    first is usual.
    """
    by_identity: dict[tuple[str, str], list[Checked]] = defaultdict(list)
    identities = [(one.record.method, digest(one.record.parameters)) for one in checked]
    for one, identity in zip(checked, identities, strict=True):
        by_identity[identity].append(one)
    names, usual = {}, {}
    for identity, own in by_identity.items():
        if any(one.record.changed == () for one in own):
            usual[identity[0]] = own[0].record.parameters
    for identity in sorted(
        by_identity, key=lambda i: (-len(by_identity[i]), _first(by_identity[i]))
    ):
        own = by_identity[identity]
        parameters = own[0].record.parameters
        base = usual.setdefault(identity[0], parameters) if _is_old(own) else {}
        names[identity] = _name(own, base)
    # Two presets of one name can meet: the later one is told by its parameters' id.
    labels: dict[tuple[str, str], str] = {}
    for identity in sorted(by_identity, key=lambda i: _first(by_identity[i])):
        name = names[identity]
        is_taken = name in labels.values()
        labels[identity] = f"{name} {identity[1][:8]}" if is_taken else name
    return [labels[identity] for identity in identities]


def _first(records: Sequence[Checked]) -> tuple[str, str]:
    return min((one.record.started_at, one.file) for one in records)


def _is_old(records: Sequence[Checked]) -> bool:
    """True if no record says which of its parameters are not at their defaults."""
    return all(one.record.changed is None for one in records)


def _name(records: Sequence[Checked], usual: Mapping[str, Any]) -> str:
    """The name of an entry, not yet told from entries of the same name.

    Args:
        records: all of one method with one set of parameters.
        usual: the parameters that old records are compared with.
    """
    method, own = records[0].record.method, dotted(records[0].record.parameters)
    if any(one.record.changed == () for one in records):  # a preset may have the defaults' values
        return method
    if preset := max(one.record.preset for one in records):
        return f"{method} ({preset})"
    if _is_old(records):
        base = dotted(usual)
        names = [
            name
            for name in sorted(base.keys() | own.keys())
            if own.get(name, "unset") != base.get(name, "unset")
        ]
    else:
        names = sorted({n for one in records for n in one.record.changed or ()})
    changed = [f"{name}={own.get(name, 'unset')}" for name in names]
    return f"{method} ({', '.join(changed)})" if changed else method


def _nothing(checked: Sequence[Checked]) -> dict[tuple[str, str, int], Mapping[str, float]]:
    """(task, case, seed of the original) to the metrics of doing nothing.

    Records from before originals were scored do not have them. A control that returns the original
    stands in, because it is scored alike.
    """
    found: dict[tuple[str, str, int], Mapping[str, float]] = {}
    for one in checked:
        record = one.record
        is_nothing = record.control and Flag.NO_OP in record.flags
        if values := one.nothing or (one.values if is_nothing else {}):
            found[record.task, record.case, record.original_seed] = values
    return found


def _case_means(
    checked: Sequence[Checked],
    labels: Sequence[str],
    nothing: Mapping[tuple[str, str, int], Mapping[str, float]],
) -> dict[tuple[str, str], pd.DataFrame]:
    """(task, label) to a frame with a row per case, mean over seeds.

    The columns are the measures and `JUDGED`.
    """

    def numbers(one: Checked) -> list[float]:
        record = one.record
        start = nothing.get((record.task, record.case, record.original_seed), {})
        judged = [
            one.values["gold_test_accuracy"],
            start.get("margin_distance", np.nan),
            start.get("activation_distance", np.nan),
            start.get("label_gain", np.nan),
            one.values["margin_signed"],
        ]
        return [*(one.values.get(name, np.nan) for name in MEASURES), *judged]

    measured = [(one, label) for one, label in zip(checked, labels, strict=True) if one.values]
    frame = pd.DataFrame([numbers(one) for one, _ in measured], columns=[*MEASURES, *JUDGED])
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
    measures = [name for name in MEASURES if name in means and means[name].notna().all()]
    entry = Entry(
        label=label,
        method=records[0].record.method,
        parameters=records[0].record.parameters,
        records=records,
        standing=Standing.RANKED,
        case_means={
            str(name): {str(case): float(value) for case, value in means[name].items()}
            for name in [*measures, *JUDGED]
            if name in means
        },
        intervals=mean_intervals(measures, means[measures].to_numpy()) if len(means) else {},
    )
    notes = []
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
    if cost := max((one.record.tuning_epochs or 0.0 for one in records), default=0.0):
        notes.append(f"tuned without golds for {cost:.0f} epochs-equivalent")
    # The harness's own methods are read by whoever changes them, and run as they are.
    exposed = sum(not r.isolated for r in (one.record for one in records) if r.distribution != OURS)
    if exposed:
        notes.append(f"not isolated in {exposed} of {len(records)} runs")
    if len(sources := {one.record.source_sha256 for one in records}) > 1:
        notes.append(f"{len(sources)} versions of its code")
    is_provisional = standing is Standing.PROVISIONAL
    if entry.is_control:
        standing = Standing.CONTROL
    return replace(entry, standing=standing, notes=tuple(notes), is_provisional=is_provisional)


def _evidence(
    task: Task, entries: Iterable[Entry], floor: Mapping[str, Mapping[str, Sequence[float]]]
) -> dict[str, Evidence]:
    """Label to what a verdict rests on, of the entries that have all cases of the task."""
    found = {}
    names = ("margin_distance", "activation_distance", "label_gain", "test_accuracy", *JUDGED)
    for entry in entries:
        cases = sorted(entry.case_means.get("margin_distance", {}))
        columns = {
            name: np.array([entry.case_means[name][case] for case in cases])
            for name in names
            if cases
        }
        has_floor = all("margin_distance" in floor.get(case, {}) for case in cases)
        if len(cases) < task.num_cases or not has_floor:
            continue
        if not np.isfinite(columns["nothing_margin_distance"]).all():
            continue
        found[entry.label] = Evidence(
            margin_C=columns["margin_distance"],
            activation_C=columns["activation_distance"],
            lost_accuracy_C=columns["gold_test_accuracy"] - columns["test_accuracy"],
            nothing_margin_C=columns["nothing_margin_distance"],
            nothing_activation_C=columns["nothing_activation_distance"],
            floor_margin_C=np.array([np.mean(floor[case]["margin_distance"]) for case in cases]),
            shift_C=columns["margin_signed"],
            label_gain_C=columns["label_gain"],
            nothing_label_gain_C=columns["nothing_label_gain"],
            floor_label_gain_C=np.array([np.mean(floor[case]["label_gain"]) for case in cases]),
        )
    return found


def _ranked(entries: Iterable[Entry], evidence: Mapping[str, Evidence]) -> tuple[Entry, ...]:
    """The entries in the order of the page, with verdicts, ranks and letters."""
    entries = list(entries)
    judged: dict[str, Judgement] = {}
    for is_control in (False, True):
        family = [entry.label for entry in entries if entry.is_control is is_control]
        judged |= judge({label: evidence[label] for label in family if label in evidence})

    def order(entry: Entry) -> tuple[Any, ...]:
        judgement = judged.get(entry.label)
        delta = entry.intervals["delta"].mean if entry.intervals else float("inf")
        place = judgement.order if judgement else UNJUDGED
        return list(Standing).index(entry.standing), *place, delta, entry.label

    out = [_with_judgement(entry, judged.get(entry.label)) for entry in sorted(entries, key=order)]
    passing = [one for one in out if one.standing is Standing.RANKED and one.passes]
    letters = groups({one.label: evidence[one.label].margin_C for one in passing})
    ranks = {one.label: number for number, one in enumerate(passing, 1)}
    return tuple(
        replace(one, rank=ranks.get(one.label), group=letters.get(one.label, "")) for one in out
    )


def _with_judgement(entry: Entry, judgement: Judgement | None) -> Entry:
    if judgement is None:
        return entry
    notes = list(entry.notes)
    if not judgement.keeps_model:
        notes.insert(0, "loses test accuracy")
    if max(judgement.p_equivalent, judgement.p_labels_worse) < SIGNIFICANCE:
        notes.insert(0, "knows less than a gold which images are hard")
    if judgement.p_activation_worse < SIGNIFICANCE:
        notes.insert(0, "worse than nothing in activation distance")
    return replace(entry, judgement=judgement, notes=tuple(notes))


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
