"""The two errors that people cause, and how they list what is wrong."""

import pytest

from mubench._util.errors import DoesNotHold, UserError


def test_all_mistakes_of_a_text_are_in_one_error():
    assert str(UserError.of(["lr: wrong"], "a.toml")) == "a.toml has 1 mistake:\n  lr: wrong"
    two = UserError.of(["lr: wrong", "golds: missing"], "a.toml")
    assert str(two) == "a.toml has 2 mistakes:\n  lr: wrong\n  golds: missing"


@pytest.mark.parametrize("kind", [UserError, DoesNotHold])
def test_a_list_of_mistakes_is_of_the_kind_that_was_asked_for(kind):
    assert type(kind.of(["it is cut off"], "a record")) is kind


def test_a_mismatch_names_the_field_and_both_values():
    error = DoesNotHold.mismatch("delta", 3.5, 4)
    assert type(error) is DoesNotHold
    assert str(error) == "it states delta = 3.5, and should state 4"


def test_what_does_not_hold_is_caught_with_a_users_mistakes():
    # pydantic reports a ValueError of a validator as a mistake in the file, and nothing else
    with pytest.raises(UserError):
        raise DoesNotHold("no")
    assert issubclass(UserError, ValueError)
