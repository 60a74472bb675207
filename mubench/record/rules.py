"""What a record must state to be believed: what its task asks, and what its readouts give.

Every check raises `DoesNotHold` with a sentence in which "it" is the record.
"""

from collections.abc import Mapping

import numpy as np

from mubench._util.errors import DoesNotHold
from mubench._util.statistics import ROUNDING
from mubench.task.spec import Task

from . import metrics
from .flags import Flag
from .folder import ResultsFolder, read_file
from .readout import parse_readout
from .schema import Cost, Metric, Record, Usage

REPORTS = ("easy", "easy_score")
"""The reports that a method can hand in."""


class TaskRules:
    """What a task asks of its records."""

    def __init__(self, task: Task):
        self.task = task
        self.spec_sha = task.spec_sha
        classes = task.forget.classes
        # Data that each user brings has class names that the spec does not know.
        self.case_ids = None if isinstance(classes, int) else [c.id for c in task.cases(classes)]

    def check(self, record: Record) -> None:
        """Checks that the record is of this task, as far as the record alone can tell.

        Raises:
            DoesNotHold: the record is not.
        """
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
        if self.case_ids is not None:
            number = self.case_ids.index(record.case)
            original = task.original_seed(number, record.seed)
            if record.original_seed != original:
                raise DoesNotHold(
                    f"it started from original {record.original_seed}, and {record.case} with seed "
                    f"{record.seed} starts from original {original}"
                )
        if record.budget != measure.budget:
            raise DoesNotHold.mismatch("budget", record.budget, measure.budget)
        if record.status != "ok":
            if record.metrics or record.readout_sha256 or record.audit:
                raise DoesNotHold(f"it has the status {record.status} and yet metrics")
            return
        if not record.metrics:
            raise DoesNotHold("it has the status ok and no metrics")
        if record.cost is None:
            raise DoesNotHold("it states no cost")
        if (count := len({gold.key for gold in record.golds})) != measure.golds:
            raise DoesNotHold.mismatch("golds", count, measure.golds)

    def check_cost(self, record: Record, num_forget: int, num_retain: int) -> dict[str, float]:
        """Checks the cost that a record states against the counts of samples behind it.

        Args:
            record: has passed `check`.
            num_forget: samples in D_f.
            num_retain: samples in D_r.

        Returns:
            `seconds` as stated, `retrain_share` as a fraction of retraining's seconds, and the two
            `epochs_equivalent` as recomputed.

        Raises:
            DoesNotHold: a number or a flag of the cost does not follow.
        """
        stated = record.cost
        assert stated is not None
        computed = Cost.of(
            Usage(**{name: getattr(stated, name) for name in Usage.model_fields}),
            retrain_seconds=stated.retrain_seconds,
            epochs=self.task.train.epochs,
            num_forget=num_forget,
            num_retain=num_retain,
        )
        names = ("epochs_equivalent", "retrain_epochs_equivalent")
        for name in names:
            compare(name, getattr(stated, name), getattr(computed, name))
        if stated.forward_samples and not stated.seconds:
            raise DoesNotHold("it states samples that passed in no time")
        is_over = computed.is_over(record.budget)
        if is_over != (Flag.OVER_BUDGET in record.flags):
            raise DoesNotHold(
                f"it is {'over' if is_over else 'within'} budget and its flags deny it"
            )
        if computed.is_uncounted() != (Flag.UNCOUNTED_WORK in record.flags):
            raise DoesNotHold("its flags and its operations disagree on uncounted work")
        return {
            "seconds": stated.seconds,
            "retrain_share": stated.seconds / stated.retrain_seconds,
            **{name: getattr(computed, name) for name in names},
        }


class FullRecheck:
    """Holds every stated metric, count and standard error against `metrics.score`."""

    def __init__(self, results: ResultsFolder, record: Record):
        """Reads the golds that a record was scored against.

        Raises:
            DoesNotHold: the readout of a gold is none.
        """
        self.golds = [parse_readout(read_file(p), p.name) for p in results.golds(record)]
        self.floor = metrics.floor(self.golds)
        self._results = results

    def check(self, record: Record, content: bytes) -> None:
        """Checks that a record of these golds states what its readout gives, no more and no less.

        Args:
            record: of these golds.
            content: the record's readout as npz.

        Raises:
            DoesNotHold: the record states something else.
        """
        readout = parse_readout(content, "the file beside it")
        reports = {name: np.asarray(report) for name, report in record.reports.items()}
        for name, report in reports.items():
            if name not in REPORTS or report.shape != readout.forget_labels_N.shape:
                raise DoesNotHold(f"it has a report {name!r} of {report.size} samples")
        scores = metrics.score(readout, self.golds, reports)
        nothing: dict[str, Metric] = {}
        if record.nothing_readout_sha256:
            path = self._results.original(record)
            nothing = metrics.score(parse_readout(read_file(path), path.name), self.golds)
        for prefix, stated, given in (
            ("", record.metrics, scores),
            ("floor ", record.floor, self.floor),
            ("nothing ", record.nothing, nothing),
        ):
            if odd := stated.keys() - given.keys():
                raise DoesNotHold(f"it states metrics that its readouts do not give: {sorted(odd)}")
            for name, metric in given.items():
                if name not in stated:
                    continue  # see `compare_all`
                for part in Metric.model_fields:
                    compare(
                        f"{prefix}{name} {part}", getattr(stated[name], part), getattr(metric, part)
                    )


def compare_all(prefix: str, stated: Mapping[str, Metric], computed: Mapping[str, float]) -> None:
    """Checks that each computed number is stated right, if it is stated at all.

    A record from before a metric existed does not state that metric. Nobody is misled by a number
    that is not there, because readers use the computed ones.

    Args:
        prefix: what to put before a metric's name in a message.
        stated: metric name to what the record states.
        computed: metric name to the value that follows from the readouts.

    Raises:
        DoesNotHold: a number is another.
    """
    for name, value in computed.items():
        if name in stated and stated[name].value != value:
            compare(prefix + name, stated[name].value, value)


def compare(name: str, stated: float | None, computed: float | None) -> None:
    """Checks that a number is stated right; one that does not exist must be stated as None.

    Args:
        name: what to call the number.
        stated: what the record says.
        computed: what follows from the readouts.

    Raises:
        DoesNotHold: they differ by more than rounding.
    """
    if stated is None or computed is None:
        agrees = stated is computed
    else:
        agrees = abs(stated - computed) <= ROUNDING * max(1, abs(computed))
    if not agrees:
        raise DoesNotHold.mismatch(name, stated, computed)
