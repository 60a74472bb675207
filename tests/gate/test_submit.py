"""Gathering an entry: what is written, what is left out, and what must not be there."""

import json
import shutil
from pathlib import Path

import pytest

from mubench._util.errors import UserError
from mubench.gate.submit import submit
from mubench.method.presets import Choice
from mubench.record.folder import ResultsFolder, read_record
from mubench.task.installed import load_task
from tests.helpers.entries import HOME
from tests.helpers.lab import edit

FILE_OF_METHOD = "./gentle_ascent.py:GentleAscent"


def submitted(results, to, reference=FILE_OF_METHOD):
    return submit(reference, Choice(), load_task("small"), results, to)


def test_what_is_written_is_told(entry, tmp_path):
    written = submitted(Path("results"), tmp_path / "to")
    assert written == sorted(path for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert {path.suffix for path in written} == {".json", ".npz", ".py"}


def test_records_with_other_parameters_are_left_out(entry, tmp_path, capsys):
    results = shutil.copytree("results", tmp_path / "mine")
    path = next((results / HOME).glob("b-6*.json"))
    parameters = json.loads(path.read_text())["parameters"]
    copy = path.with_name("copy.json")
    shutil.copy(path, copy)
    edit(copy, parameters=parameters | {"lr": 2 * parameters["lr"]})
    copy.rename(ResultsFolder(results).record(read_record(copy)))
    written = submitted(results, tmp_path / "to")
    assert "left out: 1 records with other parameters" in capsys.readouterr().err
    assert len([file for file in written if file.suffix == ".json"]) == 2


def test_a_word_on_another_code_goes(entry):
    (entry / HOME / "requirements.txt").write_text("gentle-ascent==0.1.0\n")
    submitted(Path("results"), entry)
    assert not (entry / HOME / "requirements.txt").exists()
    assert (entry / HOME / "source.py").is_file()


def test_nothing_is_written_where_a_record_does_not_hold(entry, tmp_path):
    results = shutil.copytree("results", tmp_path / "mine")
    edit(next((results / HOME).glob("b-6*.json")), metrics__delta__value=1.25)
    with pytest.raises(UserError, match=r"not fit to be published:\n.*states delta = 1\.25"):
        submitted(results, tmp_path / "to")
    assert not (tmp_path / "to").exists()
