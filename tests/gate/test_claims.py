"""What an entry says of itself: where its code and its parameters come from."""

import pytest

from mubench.gate.claims import check_words, origin, parse_pinned
from mubench.record.folder import read_record
from tests.helpers.lab import Lab, edit, make_task

COMMIT, SHA = "0" * 40, "0" * 64


def origin_of(line):
    requirement = parse_pinned(line.encode())
    assert requirement
    return origin(requirement)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a==1.0", "the index"),
        ("a==1.0\n", "the index"),
        (f"a @ git+https://example.org/you/a@{COMMIT}", "example.org/you/a"),
        (f"a @ git+https://example.org/you/a.git@{COMMIT}", "example.org/you/a"),
        (f"a @ https://example.org/you/a/releases/a-1.whl#sha256={SHA}", "example.org/you/a"),
        (f"a @ git+https://me@example.org/you/a@{COMMIT}", "me@example.org/you/a"),
    ],
)
def test_where_code_comes_from(line, expected):
    assert origin_of(line) == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"a==1.0\n\n", b"a==1.0\nb==1.0", b"a==\xff", b"a @ https://x/y", b"-e ."],
)
def test_what_pins_nothing(content):
    assert parse_pinned(content) is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"changed": ["lr"]}, None),
        ({"preset": "paper"}, None),
        ({"preset": "tuned", "tuning_epochs": 3.5}, None),
        ({"changed": ["lrr"]}, "'lrr' is changed, which is no parameter of it"),
        ({"preset": "tuned"}, "nobody says what that cost"),
        ({"tuning_epochs": 3.5}, "nobody says what that cost"),
    ],
)
def test_where_parameters_come_from(tmp_path, changes, complaint):
    lab = Lab(tmp_path, make_task(classes=("a",)))
    lab.add_entry("mine", parameters={"lr": 1})
    (path,) = tmp_path.glob("*/mine/*.json")
    edit(path, **changes)
    found = list(check_words(read_record(path)))
    assert [complaint in line for line in found] == ([True] if complaint else [])
