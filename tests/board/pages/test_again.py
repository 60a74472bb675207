"""The page says how much of an entry was measured again."""

from mubench.board.pages.leaderboard import render
from mubench.record.check import read_results
from tests.helpers.boards import boards
from tests.helpers.entries import made_mark
from tests.helpers.lab import Lab, make_task


def rows(page):
    """The table of a task: a list of cells per line."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()
            if line.startswith("| ")]  # fmt: skip


def test_an_entry_says_how_many_of_its_runs(tmp_path):
    lab = Lab(tmp_path / "results", make_task())
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("bad", accuracy=0.9)
    files = [one.file for one in read_results(lab.results, [lab.task]).checked]
    good = [file for file in files if "/good/" in file]
    marks = {good[0]: made_mark("0" * 64), good[1]: made_mark("1" * 64, ["delta is 9"])}
    page = render(boards(lab), [], "results", marks)
    header, *entries = rows(page.partition("## How to read")[0])
    column = header.index("measured again")
    cells = {row[header.index("method")]: row[column] for row in entries if len(row) > column}
    assert cells["good"] == "2 of 4, 1 differs"
    assert cells["bad"] == "0 of 4"
    assert cells["*floor*"] == ""
    assert "- **measured again**: the runs of an entry" in page


def test_a_page_without_marks_says_so_once(tmp_path):
    lab = Lab(tmp_path / "results", make_task())
    lab.add_entry("good", accuracy=0.72)
    page = render(boards(lab), [], "results")
    assert "| measured again" not in page
    assert "no run on this page was measured again" in page
    assert "only measuring again tells" in " ".join(page.split())
