"""Messages: the nearest known name, lines on stderr, and lengths of time."""

import pytest

from mubench._util.messages import did_you_mean, duration, say


def test_the_nearest_name_is_suggested_and_none_where_none_is_near():
    assert did_you_mean("finetnue", ["retrain", "finetune", "tmu"]) == "; did you mean 'finetune'?"
    assert did_you_mean("xyz", ["retrain", "finetune"]) == "."
    assert did_you_mean("x", iter(())) == "."


def test_what_is_said_goes_to_stderr_alone(capsys):
    say("all is cached")
    assert capsys.readouterr() == ("", "mubench: all is cached\n")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_a_time_has_the_unit_that_a_person_would_use(seconds, expected):
    assert duration(seconds) == expected
