"""Flags: the words in records, each with a meaning for readers."""

import json

from mubench.record.flags import Flag
from mubench.record.folder import read_record


def test_every_flag_means_something_in_a_sentence():
    assert len({flag.meaning for flag in Flag}) == len(Flag)
    assert all(flag.meaning.endswith(".") and flag.meaning[0].isupper() for flag in Flag)


def test_a_flag_is_the_word_that_stands_in_records(lab):
    path = lab.add("m", "a-50", flags=(Flag.NO_OP,))
    assert json.loads(path.read_text())["flags"] == ["no-op"]
    assert Flag.NO_OP in read_record(path).flags
    assert Flag("no-op") is Flag.NO_OP
