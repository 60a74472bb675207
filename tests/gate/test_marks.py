"""Marks in a review: who may bring, change and remove them."""

import pytest

from mubench.gate.marks import changed_marks, is_mark
from mubench.gate.published import Change

RECORD, MARK = "small/mine/b-6.json", "small/mine/again/b-6.json"


def test_where_marks_lie():
    assert is_mark(MARK)
    assert not is_mark(RECORD)
    assert not is_mark("small/again/b-6.json")


@pytest.mark.parametrize("kind", ["added", "changed"])
def test_marks_come_without_records(kind):
    assert list(changed_marks([Change(MARK, kind)])) == []
    (line,) = changed_marks([Change(MARK, kind), Change("small/other/b-6.json", "added")])
    assert line.startswith(f"{MARK}: marks are from those who measured")


def test_a_mark_goes_with_its_record_only():
    assert list(changed_marks([Change(MARK, "removed"), Change(RECORD, "changed")])) == []
    (line,) = changed_marks([Change(MARK, "removed"), Change("small/mine/d-6.json", "changed")])
    assert line == f"{MARK}: is a published mark and was removed"
