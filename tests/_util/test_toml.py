"""TOML that people write: whatever is wrong with it is their mistake, in one line."""

import os

import pytest
from pydantic import BaseModel, ConfigDict

from mubench._util.errors import UserError
from mubench._util.toml import parse_toml, read_model, read_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = ", "mine is not TOML"),
        ("a = 1\na = 2", "mine is not TOML"),
        ("a = \0", "mine is not TOML"),
        ("a = " + "[" * 1000 + "]" * 1000, "it nests too deep"),
        ("a = " + "{a=" * 1000, "it nests too deep"),
        ("a = " + "9" * 5000, "mine is not TOML: .*digits"),
    ],
)
def test_what_is_no_toml_is_told_in_one_line(text, expected):
    with pytest.raises(UserError, match=expected) as caught:
        parse_toml(text, "mine")
    assert "\n" not in str(caught.value)


def test_toml_is_read():
    assert parse_toml("[a]\nb = [1, 2.5]", "mine") == {"a": {"b": [1, 2.5]}}


def test_a_file_is_text_or_the_message_names_it(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbfn\xc3\xa9")
    assert read_text(file, "it") == "né"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="it is not text in UTF-8"):
        read_text(file, "it")
    os.mkfifo(tmp_path / "pipe")  # reading it would wait forever
    for name in ("pipe", "nothing", "."):
        with pytest.raises(UserError, match="there is no file it"):
            read_text(tmp_path / name, "it")


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")

    one: int
    other: dict[str, float]


def test_a_file_follows_its_model_or_every_mistake_is_told(tmp_path):
    file = tmp_path / "file"
    file.write_text("one = 1\nother = {a = 2}")
    assert read_model(Pair, file, "it") == Pair(one=1, other={"a": 2.0})
    file.write_text('one = "x"\nother = {a = "y"}\nthird = 3')
    with pytest.raises(UserError) as caught:
        read_model(Pair, file, "it")
    assert all(text in str(caught.value) for text in ("it has 3", "one: ", "other.a: ", "third: "))
