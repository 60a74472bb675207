"""What an entry says of itself: where its code comes from."""

import pytest

from mubench.gate.claims import origin, parse_pinned

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
