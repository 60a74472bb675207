"""What a record must state to be believed: what its task asks, and what its readouts give.

Every check raises `DoesNotHold` with a sentence in which "it" is the record.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mubench._util.errors import DoesNotHold
from mubench.task.spec import TaskSpec

from . import metrics
from .folder import gold_path
from .readout import parse_readout
from .schema import Metric, Record, epochs_equivalent

TOLERANCE = 1e-9
"""What rounding may change: relative, and absolute below one."""


class Rules:
    """What a task asks of its records."""

    def __init__(self, task: TaskSpec):
        self.task = task
        self.spec_sha = task.spec_sha
        classes = task.forget.classes
        # Data that each user brings has class names that the spec does not know.
        self.case_ids = None if isinstance(classes, int) else {c.id for c in task.cases(classes)}

    def check(self, record: Record) -> None:
        """Whether it is of this task, as far as can be told without the readout."""
        task, measure = self.task, self.task.measure
        if record.spec_sha != self.spec_sha:
            raise DoesNotHold(
                f"it was measured under another spec of {task.id}: its spec_sha begins with "
                f"{record.spec_sha[:12]}, the task's with {self.spec_sha[:12]}"
            )
        if task.data.fingerprint not in (None, record.data_fingerprint):
            raise DoesNotHold(f"it was measured on other data than that of {task.id}")
        if self.case_ids is not None and record.case not in self.case_ids:
            raise DoesNotHold(f"it is of case {record.case}, which {task.id} does not have")
        if record.budget != measure.budget:
            raise DoesNotHold.mismatch("budget", record.budget, measure.budget)
        if record.status != "ok":
            if record.metrics or record.readout_sha256:
                raise DoesNotHold(f"it has the status {record.status} and yet metrics")
            return
        if record.cost is None:
            raise DoesNotHold("it states no cost")
        if (count := len({gold.key for gold in record.golds})) != measure.golds:
            raise DoesNotHold.mismatch("golds", count, measure.golds)

    def check_cost(self, record: Record, num_forget: int, num_retain: int) -> dict[str, float]:
        """The cost that the record states, its epochs recomputed from counts of samples."""
        cost = record.cost
        assert cost is not None  # `check` has seen to it
        num_train = num_forget + num_retain
        epochs = {
            "epochs_equivalent": epochs_equivalent(
                cost.forward_samples, cost.backward_samples, num_train
            ),
            "retrain_epochs_equivalent": self.task.train.epochs * num_retain / num_train,
        }
        for name, value in epochs.items():
            compare(name, getattr(cost, name), value)
        limit = record.budget * epochs["retrain_epochs_equivalent"]
        is_over = epochs["epochs_equivalent"] > limit
        if is_over != ("over-budget" in record.flags):
            raise DoesNotHold(
                f"it is {'over' if is_over else 'within'} budget and its flags deny it"
            )
        share = cost.seconds / cost.retrain_seconds
        return {"seconds": cost.seconds, "retrain_share": share, **epochs}


def compare_all(prefix: str, stated: Mapping[str, Metric], computed: Mapping[str, float]) -> None:
    """Whether each computed number is stated, and stated right."""
    for name, value in computed.items():
        if name not in stated:
            raise DoesNotHold(f"it states no {prefix}{name}")
        if stated[name].value != value:
            compare(prefix + name, stated[name].value, value)


def compare(name: str, stated: float | None, computed: float | None) -> None:
    """Whether a number is stated right; one that does not exist must be stated as such."""
    if stated is None or computed is None:
        agrees = stated is computed
    else:
        agrees = abs(stated - computed) <= TOLERANCE * max(1, abs(computed))
    if not agrees:
        raise DoesNotHold.mismatch(name, stated, computed)


class Thorough:
    """Holds every stated metric, count and standard error against `metrics.score`."""

    def __init__(self, results: Path, record: Record):
        paths = [gold_path(results, record, gold) for gold in record.golds]
        self.golds = [parse_readout(p.read_bytes(), p.name) for p in paths]
        self.floor = metrics.floor(self.golds)

    def check(self, record: Record, content: bytes) -> None:
        """Whether a record of these golds states what its readout gives, no more and no less."""
        readout = parse_readout(content, "the file beside it")
        reports = {name: np.asarray(report) for name, report in record.reports.items()}
        scores = metrics.score(readout, self.golds, reports)
        for prefix, stated, given in (
            ("", record.metrics, scores),
            ("floor ", record.floor, self.floor),
        ):
            if odd := stated.keys() ^ given.keys():
                raise DoesNotHold(f"it states other metrics than its readouts give: {sorted(odd)}")
            for name, score in given.items():
                for part, value in asdict(score).items():
                    compare(f"{prefix}{name} {part}", getattr(stated[name], part), value)
