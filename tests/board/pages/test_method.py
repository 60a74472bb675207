"""The page of a method: what is known, and its rows beside nothing and floor."""

import pytest

from mubench.board.ledger import Ledger, read_ledger
from mubench.board.pages.entries_table import MethodPage
from mubench.board.pages.leaderboard import render
from mubench.board.pages.method import Described, render_method
from mubench.record.flags import Flag
from tests.helpers.boards import boards
from tests.helpers.strangers import LEDGER

METHOD = Described("gentle", "Forgets <gently>.", "forget", [["lr", "float < 1", "0.5", "a | b"]])


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    file = tmp_path / "gentle.toml"
    file.write_text(LEDGER)
    return read_ledger(file)


def test_rows_beside_floor_and_nothing(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    lab.add_entry("other")
    lab.add_entry("guess", control=True)
    lab.add_entry("idle", accuracy=1.0, control=True, flags=(Flag.NO_OP,))
    text = render_method(METHOD, ledger, boards(lab), "../README.md")
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[-4:] == ["method", "gentle", "*floor*", "*idle*"]
    assert "](../README.md)" in text
    assert "![gentle on made@1, case by case](../plots/methods/gentle-made.png)" in text


def test_a_method_that_only_failed_has_no_plot(lab, ledger):
    for case in lab.cases:
        lab.fail("gentle", case)
    text = render_method(METHOD, ledger, boards(lab), "README.md")
    assert "| gentle" in text
    assert "![" not in text


def test_parameters_and_texts_cannot_break_the_page(ledger):
    text = render_method(METHOD, ledger, [], "README.md")
    assert "float &lt; 1" in text
    assert "a \\| b" in text
    assert "Forgets &lt;gently>." in text
    assert "It does not run | at all. (someone/gentle#3)" in text


def test_a_claim_stands_beside_what_was_measured(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    (board,) = boards(lab)
    delta = board.entries[0].intervals["delta"].mean
    text = render_method(METHOD, ledger, [board], "README.md")
    (row,) = [line for line in text.splitlines() if line.startswith("| mean delta")]
    assert f"gentle {delta:.1f}" in row
    page = render([board], [], "results", pages={"gentle": MethodPage("methods/g.md", ledger)})
    headings, _, row = [line.split("|") for line in page.splitlines() if line.startswith("|")][:3]
    claimed = [heading.strip() for heading in headings].index("δ claimed")
    assert row[claimed].strip() == "1.5"
    assert "δ claimed" not in render([board], [], "results")


def test_a_claim_without_a_near_task_stands_alone(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    (claim,) = ledger.claims
    far = ledger.model_copy(update={"claims": (claim.model_copy(update={"task": None}),)})
    text = render_method(METHOD, far, boards(lab), "README.md")
    (row,) = [line for line in text.splitlines() if line.startswith("| mean delta")]
    assert row.rstrip(" |").endswith("made data")
    page = render(boards(lab), [], "results", pages={"gentle": MethodPage("methods/g.md", far)})
    assert "δ claimed" not in page


def test_no_claim_has_no_table(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    without = ledger.model_copy(update={"claims": ()})
    text = render_method(METHOD, without, boards(lab), "README.md")
    assert "claimed" not in text
    assert "- **claims**: none recorded" in text


def test_off_design_is_marked_here_and_on_the_page_of_all_tasks(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    board = boards(lab)
    fits = ledger.model_copy(update={"design": ("subset",)})
    for one, is_marked in ((ledger, True), (fits, False)):
        text = render_method(METHOD, one, board, "README.md")
        assert ("**Off-design**: the task forgets a part of a class" in text) is is_marked
        page = render(board, [], "results", pages={"gentle": MethodPage("methods/g.md", one)})
        (row,) = [line for line in page.splitlines() if "[gentle](methods/g.md)" in line]
        assert row.rstrip(" |").endswith("off-design") is is_marked
    assert "off-design" not in render(board, [], "results")


def test_a_method_without_a_row_is_listed_with_what_was_seen_of_it(lab, ledger):
    lab.add_entry("gentle", accuracy=0.72)
    dear = ledger.model_copy(update={"seen": ("It costs |", "twice as much.")})
    pages = {
        name: MethodPage(f"methods/{name}.md", one)
        for name, one in (("gentle", dear), ("late", ledger), ("dear", dear))
    }
    _, rows = render(boards(lab), [], "results", pages=pages).split("## Methods without a row")
    rows = [line.split(" | ")[0] for line in rows.splitlines() if line.startswith("| [")]
    assert rows == ["| [dear](methods/dear.md)", "| [late](methods/late.md)"]
    page = render(boards(lab), [], "results", pages=pages)
    assert "It costs \\| twice as much." in page
    assert "| not measured yet" in page
    few = {"gentle": pages["gentle"]}
    assert "without a row" not in render(boards(lab), [], "results", pages=few)


def test_no_records(ledger):
    assert "No record of it" in render_method(METHOD, ledger, [], "README.md")
