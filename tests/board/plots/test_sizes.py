"""The plot over sizes, where there is little to draw."""

from mubench.board.plots.draw import draw
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


def test_one_class_one_size_and_no_floor(tmp_path):
    task = make_task(classes=("a",), sizes=(20, 40))
    lab = Lab(tmp_path, task)
    lab.add_entry("alpha")
    (board,) = boards(lab)
    assert len(draw([board], tmp_path / "plots")) == 6
    bare = board.__class__(board.task, board.entries, {}, {}, None)  # as of a task with one gold
    assert len(draw([bare], tmp_path / "plots")) == 6
