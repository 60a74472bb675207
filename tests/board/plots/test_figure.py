"""What all figures share: the same files each time, and a footnote on what is not drawn."""

from dataclasses import replace

from mubench.board.plots.draw import draw
from mubench.board.plots.figure import blank
from mubench.board.plots.style import MOST_ENTRIES
from tests.helpers.boards import boards


def footnote(board):
    return blank(3.0, board, "a title", "A note.").texts[-1].get_text()


def test_svg_is_the_same_each_time(lab, tmp_path):
    written = draw(boards(lab), tmp_path / "one")
    draw(boards(lab), tmp_path / "two")
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_footnote_tells_what_is_not_drawn_and_what_is_incomplete(lab):
    (board,) = boards(lab)
    assert footnote(board) == "A note."
    many = replace(board, entries=board.entries[:1] * (MOST_ENTRIES + 3))
    assert footnote(many).startswith(
        f"A note. The first {MOST_ENTRIES} entries; the page has 3 more."
    )
    partial = replace(board, entries=(replace(board.entries[0], is_provisional=True),))
    assert footnote(partial).endswith("*: cases or seeds are missing.")
