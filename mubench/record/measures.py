"""The measures that people read: how each number is called, printed and judged, in one table.

A measure is a number of a record, such as `delta`. The page, its excerpt, the plots, the numbers
for programs, the table of `mubench run` and the report of `mubench regress` all take a measure's
heading, unit, scale, digits and direction from here. A new measure needs an entry in `MEASURES` and
the function that computes its value, and nothing else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mubench._util.statistics import MeanInterval

from .schema import Cost, Metric


class Place(StrEnum):
    """A table that has a column, or is itself one, for some measures only."""

    PAGE = "page"
    """The table per task on the page."""
    EXCERPT = "excerpt"
    """The short form of that table, such as in the README."""
    SIZES = "sizes"
    """A table per measure on the page, for tasks with several sizes of D_f."""
    RUN = "run"
    """What `mubench run` prints."""
    RUN_WIDE = "run wide"
    """What `mubench run --wide` prints."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a number is called, printed and judged."""

    name: str
    """The name in records, in `Checked.values` and in the numbers for programs."""
    heading: str
    """The heading of the measure's column."""
    title: str
    """The name in running text and on an axis."""
    unit: str
    """The unit in which the number is printed, in words; empty for a number without a unit."""
    meaning: str
    """A sentence that explains the measure to readers of the page."""
    better: Literal["lower", "higher", None]
    """The direction in which a method improves; None if the number is no merit."""
    digits: int
    """Digits after the point."""
    compare_digits: int | None = None
    """Digits where two runs are compared; None: as many as `digits`."""
    scale: float = 1
    """Factor from the value in a record to the printed number: 100 from fractions to percent."""
    is_signed: bool = False
    """True if the number is printed with its sign."""
    has_interval: bool = True
    """True if a mean over cases is printed with its interval."""
    places: frozenset[Place] = frozenset({Place.PAGE})
    """The tables that show the measure."""
    most: float = math.inf
    """The largest possible value, in the unit of the record."""
    axis: Literal["from zero", "free", "log"] = "from zero"
    """How an axis of the measure is drawn."""
    is_stated: bool = False
    """True if readers of records take the number as stated, because it is slow to compute. Records
    from before it existed do not have it."""
    sampled_as: str | None = None
    """The mean over samples that stands for this measure where spread over samples is asked for.
    None: the measure is itself such a mean."""

    @property
    def axis_title(self) -> str:
        """The title and the unit, for an axis or a heading."""
        has_unit = self.unit and self.unit not in self.title
        return f"{self.title}, {self.unit}" if has_unit else self.title

    @property
    def explanation(self) -> str:
        """A line for readers of tables: the heading, the unit, the direction and the meaning."""
        facts = [f"**{self.heading}**"]
        if self.unit and self.unit not in self.heading:
            facts.append(f"in {self.unit}")
        if self.better:
            facts.append(f"{self.better} is better")
        return f"{', '.join(facts)}: {self.meaning}"

    @property
    def samples(self) -> str:
        """The name of the mean over samples that stands for this measure."""
        return self.sampled_as or self.name

    def loss(self, baseline: float, new: float) -> float:
        """How much worse a value is than another; below zero if it is better.

        Args:
            baseline: the value to compare with, in the unit of the record.
            new: the value that is judged, in the same unit.

        Returns:
            The difference, in the unit of the record.
        """
        assert self.better
        return new - baseline if self.better == "lower" else baseline - new

    def text(self, value: float, *, is_signed: bool | None = None, compared: bool = False) -> str:
        """A value as it is printed, without its unit.

        Args:
            value: in the unit of the record.
            is_signed: True to print a sign, False to print none above zero; None: as the measure.
            compared: True to print the digits that a comparison of two runs needs.
        """
        digits = self.digits
        if compared and self.compare_digits is not None:
            digits = self.compare_digits
        sign = "+" if (self.is_signed if is_signed is None else is_signed) else ""
        # Adding zero turns a negative zero into a positive one.
        return f"{self.scale * value + 0.0:{sign}.{digits}f}"

    def interval_text(self, interval: MeanInterval) -> str:
        """A mean over cases as it is printed, with its interval if the measure is shown with one.

        Args:
            interval: the mean and the half width of its interval, in the unit of the record.
        """
        text = self.text(interval.mean)
        if interval.half_width is None or not self.has_interval:
            return text
        return f"{text} ± {self.text(interval.half_width, is_signed=False)}"


_ALL = (
    Measure(
        name="delta",
        heading="δ",
        title="δ",
        unit="points",
        better="lower",
        digits=1,
        compare_digits=3,
        places=frozenset(Place),
        most=100,
        sampled_as="delta_signed",
        meaning="the absolute difference between the accuracies on D_f of the method and of a "
        "gold, mean over the golds. A gold is a model that was retrained without D_f.",
    ),
    Measure(
        name="delta_signed",
        heading="signed δ",
        title="signed δ",
        unit="points",
        better=None,
        digits=1,
        is_signed=True,
        places=frozenset({Place.PAGE, Place.RUN_WIDE}),
        most=100,
        meaning="δ with its sign. Above zero, the method forgot too little; below zero, too much.",
    ),
    Measure(
        name="test_accuracy",
        heading="test acc %",
        title="test accuracy",
        unit="%",
        better="higher",
        digits=1,
        compare_digits=2,
        scale=100,
        places=frozenset({Place.PAGE, Place.EXCERPT, Place.RUN, Place.RUN_WIDE}),
        most=1,
        axis="free",
        meaning="the accuracy on the scored half of the held-out images.",
    ),
    Measure(
        name="activation_distance",
        heading="act. dist.",
        title="activation distance",
        unit="",
        better="lower",
        digits=3,
        places=frozenset({Place.PAGE, Place.EXCERPT, Place.RUN, Place.RUN_WIDE}),
        most=math.sqrt(2),
        meaning="the mean L2 distance between the softmax outputs on D_f of the method and of a "
        "gold, at most 1.414.",
    ),
    Measure(
        name="margin_distance",
        heading="margin distance",
        title="margin distance",
        unit="",
        better="lower",
        digits=3,
        places=frozenset({Place.PAGE, Place.RUN_WIDE}),
        most=10,
        meaning="the mean absolute difference between the margins of the method and of a gold on a "
        "sample of D_f. A margin is the logit of the true class less the logsumexp of the others, "
        "clipped to ±5. Verdicts and gap closed rest on this measure.",
    ),
    Measure(
        name="label_accuracy",
        heading="label acc %",
        title="label accuracy",
        unit="%",
        better="higher",
        digits=1,
        compare_digits=2,
        scale=100,
        places=frozenset({Place.PAGE, Place.RUN_WIDE}),
        most=1,
        axis="free",
        meaning="the share of D_f on which the method and a gold are right together or wrong "
        "together.",
    ),
    Measure(
        name="all_easy_rate",
        heading="all-easy %",
        title="all-easy rate",
        unit="%",
        better=None,
        digits=1,
        scale=100,
        has_interval=False,
        most=1,
        meaning="the label accuracy of calling every sample easy, which is the golds' accuracy on "
        "D_f. Calling every sample hard gets the rest of 100.",
    ),
    Measure(
        name="label_gain",
        heading="label gain",
        title="label gain",
        unit="points",
        better="higher",
        digits=1,
        scale=100,
        is_signed=True,
        places=frozenset({Place.PAGE, Place.EXCERPT, Place.SIZES}),
        most=1,
        axis="free",
        meaning="the label accuracy less that of the better constant guess, which calls every "
        "sample easy or calls every sample hard.",
    ),
    Measure(
        name="mia_accuracy_gap",
        heading="MIA gap",
        title="membership inference gap",
        unit="points",
        better="lower",
        digits=1,
        scale=100,
        most=1,
        is_stated=True,
        meaning="the absolute difference between the accuracies of a membership inference attack "
        "on the method and on a gold, mean over the golds. The attack is a logistic regression on "
        "the loss, of D_f against test images of the same classes. It is as the records state it, "
        "and `mubench verify` computes it again.",
    ),
    Measure(
        name="seconds",
        heading="seconds",
        title="seconds",
        unit="seconds",
        better="lower",
        digits=1,
        compare_digits=2,
        has_interval=False,
        places=frozenset({Place.PAGE, Place.RUN_WIDE}),
        axis="log",
        meaning="the clock around unlearning alone, as the records state it.",
    ),
    Measure(
        name="retrain_share",
        heading="of retrain",
        title="share of retraining",
        unit="",
        better="lower",
        digits=2,
        places=frozenset({Place.PAGE, Place.RUN, Place.RUN_WIDE}),
        meaning="the seconds as a share of the seconds of retraining on the same device.",
    ),
    Measure(
        name="epochs_equivalent",
        heading="epochs-eq.",
        title="epochs-equivalent",
        unit="passes over D",
        better="lower",
        digits=2,
        has_interval=False,
        places=frozenset({Place.PAGE, Place.EXCERPT, Place.RUN_WIDE}),
        meaning="(forward samples + twice the backward samples) / 3 |D|, which can be compared "
        "across machines.",
    ),
    Measure(
        name="retrain_epochs_equivalent",
        heading="retrain epochs-eq.",
        title="epochs-equivalent of retraining",
        unit="passes over D",
        better=None,
        digits=2,
        has_interval=False,
        places=frozenset(),
        meaning="the epochs-equivalent of retraining without D_f.",
    ),
)

MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
"""Name to measure, in the order of columns."""


def shown_in(place: Place) -> list[Measure]:
    """The measures of a table, in the order of columns."""
    return [measure for measure in MEASURES.values() if place in measure.places]


def stated_values(metrics: Mapping[str, Metric], cost: Cost | None = None) -> dict[str, float]:
    """The values of all metrics and costs that a record states, without checking any of them.

    Args:
        metrics: the metrics of a model, or those of the floor.
        cost: what the run took. None: the values are of no run, such as those of the floor.

    Returns:
        Name to value, each in the unit of the record.
    """
    values = {name: metric.value for name, metric in metrics.items()}
    if cost is None:
        return values
    return values | {
        "seconds": cost.seconds,
        "retrain_share": cost.seconds / cost.retrain_seconds,
        "epochs_equivalent": cost.epochs_equivalent,
        "retrain_epochs_equivalent": cost.retrain_epochs_equivalent,
    }
