"""Readouts beside published records serve in place of golds."""

import pytest

from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench.gold import published
from mubench.gold.library import GoldLibrary
from mubench.gold.published import import_published
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from tests.helpers.lab import edit


@pytest.fixture
def results(library, tmp_path, monkeypatch):
    """A folder with a record of the tiny task, which is installed."""
    monkeypatch.setattr(published, "installed_tasks", lambda: [library.loaded.task])
    method = load_method("original")
    cell = Cell(library.loaded.cases[0], method, configure(method, {}), 0)
    measure(library, cell, ResultsFolder(tmp_path / "results"))
    return tmp_path / "results"


def test_no_gold_has_to_be_trained_where_its_readout_was_published(library, results, tmp_path):
    case = library.loaded.cases[0]
    other = GoldLibrary(library.loaded, Store(tmp_path / "other"))
    assert import_published(other.store, results) == 3
    assert other.missing([case], [0]) == [library.loaded.originals[0]]
    for ref in (*library.loaded.golds(case), library.loaded.originals[0]):
        assert other.readout(ref, case).content == library.readout(ref, case).content
    assert import_published(other.store, results) == 0


def test_the_original_of_a_log_is_not_taken_for_that_of_its_seed(results, tmp_path):
    (path,) = ResultsFolder(results).records()
    edit(path, requires=["retain", "update_log"])
    assert import_published(Store(tmp_path / "other"), results) == 2


def test_readouts_of_a_record_that_does_not_hold_stay_outside(results, tmp_path):
    (path,) = ResultsFolder(results).records()
    edit(path, metrics__delta__value=1.25)
    with pytest.raises(UserError, match="no record that holds"):
        import_published(Store(tmp_path / "other"), results)
    assert not (tmp_path / "other" / "readouts").exists()


def test_readouts_of_other_code_are_left_out(results, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "identity", lambda *_: {"forget": "f", "code": 2})
    assert import_published(Store(tmp_path / "other"), results) == 0
