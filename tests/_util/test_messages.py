"""Messages: the nearest known name, lines on stderr, and lengths of time."""

import pytest

from mubench._util.messages import (
    counted,
    did_you_mean,
    duration,
    error_line,
    one_line,
    printable,
    say,
)


def test_the_nearest_name_is_suggested_and_none_where_none_is_near():
    assert did_you_mean("finetnue", ["retrain", "finetune", "tmu"]) == "; did you mean 'finetune'?"
    assert did_you_mean("xyz", ["retrain", "finetune"]) == "."
    assert did_you_mean("x", iter(())) == "."


class Wild(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no\n  such"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (OSError("\x1b[31mred\x1b[0m\a"), "OSError: red\\x07"),
        (Wild(), "Wild: (its text cannot be told: RuntimeError)"),
    ],
)
def test_an_exception_is_one_line_that_steers_no_terminal(error, expected):
    assert error_line(error) == expected


def test_what_is_said_goes_to_stderr_alone(capsys):
    say("all is cached")
    assert capsys.readouterr() == ("", "mubench: all is cached\n")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_a_time_has_the_unit_that_a_person_would_use(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, \u00e9\u4e2d and\ttab\nnext", "plain, \u00e9\u4e2d and\ttab\nnext"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b7", "red link"),
        ("bell\x07 \x9b2J \u202ereversed \udcff", "bell\\x07 \\x9b2J \\u202ereversed \\udcff"),
        (" 10%\r 50%\r100%\r\ndone\r\n", "100%\ndone\n"),
    ],
)
def test_what_a_terminal_would_obey_is_not_printed(text, expected):
    assert printable(text) == expected


def test_a_line_by_somebody_else_is_one_and_has_an_end():
    assert one_line("first\nsecond") == "first"
    assert len(one_line("x" * 10**6)) == 1000


def test_an_error_is_a_line_even_if_its_text_raises():
    class Mute(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    assert error_line(ValueError("one\ntwo")) == "ValueError: one"
    assert error_line(Mute()) == "Mute: (its text cannot be told: KeyboardInterrupt)"


def test_a_noun_follows_its_number():
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert [counted(number, "entry") for number in (1, 2)] == ["1 entry", "2 entries"]
