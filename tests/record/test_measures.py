"""The table of measures: what is printed follows from it, and every measure can be printed."""

import math

import pytest

from mubench._util.statistics import MeanInterval
from mubench.record.check import read_results
from mubench.record.folder import read_record
from mubench.record.measures import MEASURES, Measure, Place, shown_in, stated_values

PLAIN = Measure(
    name="x", heading="x", title="x", unit="", meaning="A thing.", better="lower", digits=1
)
GAIN = Measure(
    name="gain", heading="gain", title="the gain", unit="points", meaning="more.", better="higher",
    digits=1, compare_digits=3, scale=100, is_signed=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "value", "expected"),
    [
        (PLAIN, 1.25, "1.2"),
        (PLAIN, -0.0, "0.0"),
        (GAIN, 0.12345, "+12.3"),
        (GAIN, -0.0, "+0.0"),
        (GAIN, -0.5, "-50.0"),
    ],
)
def test_a_value_is_printed_in_the_unit_of_the_table(measure, value, expected):
    assert measure.text(value) == expected


def test_a_comparison_has_its_own_digits():
    assert GAIN.text(0.12345, compared=True) == "+12.345"
    assert GAIN.text(0.12345, is_signed=False) == "12.3"
    assert PLAIN.text(1.25, is_signed=True, compared=True) == "+1.2"


@pytest.mark.parametrize(
    ("measure", "interval", "expected"),
    [
        (GAIN, MeanInterval(0.1, 0.02), "+10.0 ± 2.0"),
        (GAIN, MeanInterval(0.1, None), "+10.0"),
        (MEASURES["seconds"], MeanInterval(3.0, 1.0), "3.0"),
    ],
)
def test_an_interval_has_no_sign_and_may_be_left_out(measure, interval, expected):
    assert measure.interval_text(interval) == expected


def test_loss_is_above_zero_where_the_new_value_is_worse():
    assert PLAIN.loss(1.0, 3.0) == 2.0
    assert GAIN.loss(1.0, 3.0) == -2.0


def test_words_for_axes_and_readers():
    assert PLAIN.axis_title == "x"
    assert GAIN.axis_title == "the gain, points"
    assert MEASURES["seconds"].axis_title == "seconds"
    assert GAIN.explanation == "**gain**, in points, higher is better: more."
    assert MEASURES["all_easy_rate"].explanation.startswith("**all-easy %**: the label accuracy")


def test_names_and_headings_are_unique_and_every_meaning_is_a_sentence():
    for field in ("heading", "title"):
        assert len({getattr(measure, field) for measure in MEASURES.values()}) == len(MEASURES)
    for name, measure in MEASURES.items():
        assert name == measure.name
        assert measure.meaning.endswith(".")
        assert measure.scale in (1, 100)


def test_every_place_shows_measures_in_the_order_of_the_table():
    order = list(MEASURES)
    for place in Place:
        positions = [order.index(measure.name) for measure in shown_in(place)]
        assert positions
        assert positions == sorted(positions)
    assert set(shown_in(Place.EXCERPT)) <= set(shown_in(Place.PAGE))


def test_a_record_that_holds_has_every_measure(lab):
    lab.num_peers = 5  # enough for membership inference
    record = read_record(lab.add("m", "a-50"))
    (checked,) = read_results(lab.results, [lab.task]).checked
    assert MEASURES.keys() <= checked.values.keys()
    stated = stated_values(record.metrics, record.cost)
    for name, measure in MEASURES.items():
        assert stated[name] == pytest.approx(checked.values[name])
        assert stated[name] <= measure.most or math.isinf(measure.most)
    assert {measure.samples for measure in MEASURES.values()} <= stated.keys()


def test_the_floor_has_no_cost(lab):
    record = read_record(lab.add("m", "a-50"))
    assert stated_values(record.floor).keys() == record.floor.keys()
