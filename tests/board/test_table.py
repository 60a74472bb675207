"""The leaderboard as a table for programs."""

import pandas as pd
import pytest

from mubench._util.errors import UserError
from mubench._util.hashing import sha256_of
from mubench.board.table import frame, leaderboard
from mubench.record.again import write_mark
from mubench.record.folder import ResultsFolder
from tests.helpers.boards import boards
from tests.helpers.entries import made_mark
from tests.helpers.lab import Lab, edit, make_task


def test_one_row_per_entry_with_every_number_unrounded(tmp_path):
    task = make_task(classes=("a", "b", "c"))
    lab = Lab(tmp_path, task)
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("poor", accuracy=0.95)
    table = leaderboard(tmp_path, [task])
    assert list(table["method"]) == ["good", "poor", "floor"]
    assert list(table["verdict"].dropna()) == ["not shown"] * 2  # three cases show nothing
    assert table["gap_closed"][0] > table["gap_closed"][1] > 0
    good, poor, floor = (table.iloc[row] for row in range(3))
    assert good["delta"] < poor["delta"]
    assert 0 < good["test_accuracy"] < 1
    assert good["test_accuracy_interval"] > 0
    assert (good["cases"], floor["cases"]) == (3, 3)


def test_what_a_program_needs_to_judge_an_entry(tmp_path):
    task = make_task(classes=("a", "b", "c"))
    path, *_ = Lab(tmp_path, task).add_entry("good", parameters={"lr": 0.5})
    edit(path, isolated=False, device="another processor")
    file = path.relative_to(tmp_path).as_posix()
    write_mark(ResultsFolder(tmp_path), file, made_mark(sha256_of(path.read_bytes())))
    good, floor = (leaderboard(tmp_path, [task]).iloc[row] for row in range(2))
    assert (good["runs"], good["isolated"], good["measured_again"]) == (3, 2, 1)
    assert good["devices"] == "a processor; another processor"
    assert good["parameters"] == '{"lr": 0.5}'
    assert pd.isna(floor["runs"])


def test_a_record_that_does_not_hold_is_left_out(tmp_path):
    task = make_task(classes=("a", "b", "c"))
    path, *_ = Lab(tmp_path, task).add_entry("good")
    edit(path, metrics__delta__value=0.0)
    assert leaderboard(str(tmp_path), [task])["cases"].iloc[0] == 2


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no folder of records"):
        leaderboard(tmp_path / "nowhere")


def test_frame_has_numbers_for_programs(lab):
    lab.add_entry("m", accuracy=0.9)
    table = frame(boards(lab)).set_index("method")
    assert table.loc["m", "delta"] == pytest.approx(20, abs=1)
    assert table.loc["m", "cases"] == 4
    assert table.loc["floor", "standing"] == "floor"
