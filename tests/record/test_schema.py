"""What a record states: its name, what makes two of them one measurement, and its cost."""

import math

import pytest
from pydantic import ValidationError

from mubench.record.folder import read_record
from mubench.record.schema import Cost, Metric, Usage, epochs_equivalent


@pytest.fixture
def record(lab):
    return read_record(lab.add("m", "a-50", seed=3))


def test_a_name_tells_parameters_apart_whatever_their_order(record):
    first, same, other = (
        record.model_copy(update={"parameters": parameters}).stem
        for parameters in ({"lr": 0.1, "epochs": 1}, {"epochs": 1, "lr": 0.1}, {"lr": 0.1})
    )
    assert first.startswith("a-50-seed3-")
    assert first == same != other


@pytest.mark.parametrize(
    ("field", "value", "is_same"),
    [
        ("metrics", {}, True),
        ("started_at", "2027-01-01T00:00:00+00:00", True),
        ("git_revision", "a" * 40, True),
        ("seed", 4, False),
        ("source_sha256", "9" * 64, False),
        ("harness_sha256", "9" * 64, False),
        ("device", "another processor", False),
        ("isolated", False, False),
    ],
)
def test_what_was_found_is_no_part_of_what_was_measured(record, field, value, is_same):
    other = record.model_copy(update={field: value})
    assert (record.head == other.head) == is_same


@pytest.mark.parametrize("change", [{"value": math.nan}, {"stderr": math.inf}, {"surprise": 1}])
def test_a_number_that_is_none_and_an_unknown_field_are_refused(change):
    with pytest.raises(ValidationError):
        Metric.model_validate({"value": 1.0, "count": 2} | change)


def test_a_forward_pass_is_a_third_of_both():
    assert epochs_equivalent(300, 0, num_train=100) == 1
    assert epochs_equivalent(100, 100, num_train=100) == 1
    assert epochs_equivalent(0, 0, num_train=100) == 0


@pytest.mark.parametrize(
    ("unseen", "expected"),
    [
        ((None, None), False),  # an older record
        ((0, 0), False),
        ((600, 0), True),  # a fifth of 1000 + 2 x 1000
        ((599, 0), False),
        ((0, 300), True),
        ((1000, 1000), True),
    ],
)
def test_work_is_uncounted_if_a_fifth_of_it_only_operations_show(unseen, expected):
    assert cost((1000, 1000), unseen).is_uncounted() == expected


def test_a_hundredth_of_an_epoch_is_always_explained():
    assert not cost((29, 0), (29, 0)).is_uncounted()
    assert cost((31, 0), (31, 0)).is_uncounted()
    assert not cost((0, 0), (0, 0)).is_uncounted()


def cost(samples, unseen):
    names = ("forward_samples", "backward_samples")
    usage = Usage(
        **dict(zip(names, samples, strict=True)),
        **{f"unseen_{name}": count for name, count in zip(names, unseen, strict=True)},
    )
    return Cost.of(usage, retrain_seconds=1.0, epochs=10, num_forget=100, num_retain=900)
