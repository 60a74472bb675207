"""The section of a task: plots, tables over sizes, and what few cases can show."""

import json

import numpy as np
import pytest

from mubench.board.pages.excerpt import excerpt
from mubench.board.pages.leaderboard import render
from mubench.board.plots.style import planned
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


def test_page_links_the_planned_plots(lab):
    lab.add_entry("m")
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert [plot.kind for plot in planned(board)] == ["cost", "cases"]
    for plot in planned(board):
        assert f"plots/{plot.stem(board)}.png" in page
        assert f"plots/{plot.stem(board)}.svg" in page


def test_sizes_have_tables_of_their_own(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=("a", "b"), sizes=(20, 80)))
    lab.add_entry("idle", accuracy=1.0, control=True)
    paths = lab.add_entry("m")
    lab.add("part", "a-80")
    text = render(boards(lab), [], "results")
    assert "differ in size alone" not in text
    for heading, metric, scale, spec in (
        ("δ over |D_f|", "delta", 1, ".1f"),
        ("Label gain over |D_f|", "label_gain", 100, "+.1f"),
    ):
        lines = text.partition(f"\n{heading}")[2].split("\n\n")[1].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        stated = {path.name: json.loads(path.read_text()) for path in paths}
        m = [
            f"{np.mean([scale * r['metrics'][metric]['value'] for r in of_size]):{spec}}"
            for size in (20, 80)
            if (of_size := [r for r in stated.values() if r["case"].endswith(f"-{size}")])
        ]
        assert rows[0] == ["method", "20", "80"]
        assert [row[0] for row in rows[2:]] == ["m", "part", "*floor*", "*idle*"]
        assert rows[2][1:] == m
        assert rows[3][1] == ""
        assert rows[3][2]


def test_sizes_of_one_class(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=("a",), sizes=(20, 40)))
    lab.add_entry("m")
    assert "differ in size alone" in render(boards(lab), [], "results")
    marked = "<!-- board -->\n<!-- end of board -->\n"
    short = excerpt(marked, boards(lab), "board/README.md")
    assert "| method" not in short
    assert "](board/plots/made-scaling.png)" in short


@pytest.mark.parametrize(("count", "is_told"), [(3, True), (4, True), (5, False)])
def test_too_few_cases_for_any_test_are_told(tmp_path, count, is_told):
    lab = Lab(tmp_path / "results", make_task(classes=tuple("abcde"[:count])))
    lab.add_entry("m", accuracy=0.72)
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert (f"Of {count} cases no test can show anything" in page) is is_told
    assert (board.entries[0].rank is None) is is_told
    assert (", as so few cases can show nothing." in page) is is_told
