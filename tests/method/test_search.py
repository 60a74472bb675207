import pytest

from mubench import Search
from mubench._util.errors import UserError


@pytest.mark.parametrize(
    ("search", "text"),
    [
        (Search(1e-4, 1e-1, log=True), "0.0001 to 0.1, log"),
        (Search(1, 9, step=2), "1 to 9, step 2"),
        (Search(choices=("a", "b")), "a, b"),
    ],
)
def test_a_search_reads_as_text(search, text):
    assert str(search) == text


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "give low and high"),
        ({"low": 1}, "give low and high"),
        ({"low": 1, "high": 1}, "below high"),
        ({"low": 0, "high": 1, "log": True}, "above zero"),
        ({"low": 0, "high": 1, "step": 2}, "within the range"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "without log"),
        ({"low": 0, "high": 1, "choices": (1, 2)}, "not both"),
        ({"choices": ("a",)}, "at least two"),
    ],
)
def test_a_search_that_is_none_says_why(given, complaint):
    with pytest.raises(UserError, match=complaint):
        Search(**given)
