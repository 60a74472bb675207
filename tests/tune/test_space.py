"""What is searched, and with which values it begins."""

import pytest

from mubench._util.errors import UserError
from mubench.method.discovery import load_method
from mubench.method.parameters import Search
from mubench.tune.space import Searched, nested, space_of
from tests.helpers.methods import PLUGIN


def test_searched_are_the_parameters_that_say_where_also_nested_ones(noisy):
    space = space_of(load_method(noisy), {})
    assert [(one.name, one.is_integer, one.default) for one in space] == [
        ("noise", False, 0.5), ("extra.rounds", True, 3),
    ]  # fmt: skip
    (left,) = space_of(load_method(noisy), {"noise": 0.1})
    assert left.name == "extra.rounds"


def test_a_method_that_says_nowhere_is_told_how(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    with pytest.raises(UserError, match=r"Search\(1e-4, 1e-1, log=True\)"):
        space_of(load_method(f"{tmp_path / 'mine.py'}:MyMethod"), {})


@pytest.mark.parametrize(
    ("search", "default", "expected"),
    [
        (Search(0, 1), 0.5, True),
        (Search(0, 1), 1.5, False),
        (Search(0, 1), None, False),
        (Search(0, 1), True, False),
        (Search(1, 9, step=2), 5, True),
        (Search(1, 9, step=2), 6, False),
        (Search(0, 1, step=0.1), 0.3, True),
        (Search(choices=("a", "b")), "a", True),
        (Search(choices=("a", "b")), "c", False),
        (Search(choices=(1, 2)), True, False),
    ],
)
def test_a_default_outside_of_what_can_be_drawn_is_known(search, default, expected):
    assert Searched("x", search, False, default).holds_default is expected


def test_dotted_names_become_nested_settings():
    assert nested({"a": 1, "b.c": 2, "b.d.e": 3}) == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
