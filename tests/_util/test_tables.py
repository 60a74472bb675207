"""Tables of text: alignment, and cells that could break a table."""

import pytest

from mubench._util.tables import markdown, plain

ROWS = [["a", 1.50], ["bcd", "20"]]


def test_markdown_by_hand():
    assert markdown(ROWS, ["name", "x"], "lr").splitlines() == [
        "| name   |   x |",
        "|:-------|----:|",
        "| a      | 1.5 |",
        "| bcd    |  20 |",
    ]


def test_plain_by_hand():
    assert plain(ROWS, ["name", "x"], "lr").splitlines() == [
        "name      x",
        "------  ---",
        "a       1.5",
        "bcd      20",
    ]


@pytest.mark.parametrize("table", [markdown, plain])
def test_all_columns_are_to_the_left_unless_told(table):
    assert table(ROWS, ["name", "x"]) == table(ROWS, ["name", "x"], "ll")


def test_a_bar_and_a_line_break_cannot_end_a_cell():
    (*_, row) = markdown([["a | b\nc"]], ["x"]).splitlines()
    assert row == r"| a \| b c |"
    (*_, row) = plain([["a | b\nc"]], ["x"]).splitlines()
    assert row == "a | b c"


def test_numbers_in_letters_stay_as_they_are():
    assert "1.50" in plain([["1.50"]], ["x"], "r")


def test_no_rows_leave_the_headers():
    assert "name" in markdown([], ["name", "x"], "lr")
    assert "name" in plain([], ["name", "x"], "lr", widths=[None, 8])


def test_a_long_cell_is_wrapped_if_asked():
    (*_, first, second) = plain([["a", "two words"]], ["x", "y"], widths=[None, 5]).splitlines()
    assert first.split() == ["a", "two"]
    assert second.split() == ["words"]


def test_a_row_of_another_length_is_a_bug():
    with pytest.raises(AssertionError):
        markdown([["a"]], ["x", "y"])
