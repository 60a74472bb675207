"""An excerpt for another text."""

from mubench.board.pages.excerpt import excerpt
from mubench.board.pages.leaderboard import render
from mubench.board.plots.draw import draw
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, whole_classes


def test_whole_classes_have_no_sizes_and_a_table_in_the_excerpt(tmp_path):
    lab = Lab(tmp_path / "results", whole_classes())
    for case in lab.cases:
        lab.golds(case, accuracy=0.02)
    lab.add_entry("m", accuracy=0.5)
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert "over |D_f|" not in page
    assert "golds are wrong on most of D_f (by the share in brackets)" in page
    short = excerpt("<!-- board -->\n<!-- end of board -->\n", [board], "board/README.md")
    assert "| method" in short
    assert "](board/plots/made-cost.png)" in short
    assert 0 < board.entries[0].judgement.gap_closed.value < 1
    assert draw([board], tmp_path / "plots")
