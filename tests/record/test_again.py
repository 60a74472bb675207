"""Marks of records that were measured again: written, read, and of no worth if they do not fit."""

import pytest

from mubench._util.errors import DoesNotHold
from mubench._util.hashing import sha256_of
from mubench.record.again import mark_file, marks, read_mark, write_mark
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder
from tests.helpers.entries import made_mark
from tests.helpers.lab import Lab, edit, make_task


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "results", make_task())
    lab.add("good", "a-50")
    lab.add("good", "b-50")
    return lab


def marked(lab):
    """The folder, the files of its records, and the mark that the first of them got."""
    folder = ResultsFolder(lab.results)
    checked = read_results(lab.results, [lab.task]).checked
    mark = made_mark(sha256_of((lab.results / checked[0].file).read_bytes()))
    write_mark(folder, checked[0].file, mark)
    return folder, checked, mark


def test_a_mark_is_of_one_record(lab):
    folder, checked, mark = marked(lab)
    assert marks(folder, checked) == {checked[0].file: mark}
    assert read_mark(folder, checked[0].file) == mark
    with pytest.raises(DoesNotHold, match="cannot be read"):
        read_mark(folder, checked[1].file)


def test_a_mark_is_no_record(lab):
    folder, checked, _ = marked(lab)
    assert mark_file("a/b/c.json") == "a/b/again/c.json"
    assert (folder / mark_file(checked[0].file)).is_file()
    read = read_results(lab.results, [lab.task])
    assert (len(read.checked), read.rejected) == (2, ())


def test_a_mark_says_nothing_of_a_record_that_came_later(lab):
    folder, checked, _ = marked(lab)
    edit(folder / checked[0].file, started_at="2026-02-02T00:00:00+00:00")
    with pytest.raises(DoesNotHold, match="it is of another record than is there now"):
        read_mark(folder, checked[0].file)
    assert marks(folder, checked) == {}


def test_what_is_no_mark_counts_for_nothing(lab):
    folder, checked, _ = marked(lab)
    (folder / mark_file(checked[0].file)).write_text("{}")
    with pytest.raises(DoesNotHold, match="it is no mark"):
        read_mark(folder, checked[0].file)
    assert marks(folder, checked) == {}
