"""Published figures beside those of made records."""

import re

import pytest

from mubench._util.errors import UserError
from mubench.board.pages.report import read_report, render_report
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task

CASES = ("a", "b", "c")
GOLD_ACCURACY = 0.7
PLAN = """
title = "A page"
introduction = '''
Theirs {accuracy | Theirs}, ours {accuracy | ours at A}, less {accuracy | ours - other}.
'''
[[claims]]
text = "Theirs is lower"
table = "accuracy"
published = ["Theirs", "Rival"]
measured = [["ours", "other"], ["other", "ours"], ["ours", "again"]]
[[sections]]
title = "A section"
text = "Of {accuracy | golds}."
[[tables]]
name = "accuracy"
title = "Accuracy"
task = "made@1"
cells = { A = "a-50", B = "b-50", C = "c-50" }
measure = "forget_accuracy"
scale = 100
rows = [
  { label = "golds", entry = "ours", measure = "gold_forget_accuracy" },
  { label = "ours" },
  { label = "again", entry = "ours" },
  { label = "other" },
  { label = "gold against gold", entry = "floor", measure = "label_accuracy" },
  { label = "idle", entry = "other", measure = "flag no-op" },
]
"""
FIGURES = """\
table,row,cell,value
accuracy,Theirs,A,80
accuracy,Theirs,B,84
accuracy,Theirs,C,88
accuracy,Rival,A,90
accuracy,Rival,C,100
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("results"), make_task(classes=CASES))
    lab.add_entry("ours", accuracy=0.8)
    lab.add_entry("other", accuracy=0.9)
    return boards(lab)


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.csv").write_text(FIGURES)
    return tmp_path / "plan.toml"


def page(plan, made, text=PLAN):
    plan.write_text(text)
    return render_report(read_report(plan), made, "paper/plan.toml")


def row(text, label, source):
    found = re.search(rf"^\| {re.escape(label)} +\| {source} +\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in found[1].split("|")]


def test_cells_and_means_of_both_sides(plan, made):
    text = page(plan, made)
    half = 4 * 4.302653 / 3**0.5  # t at 97.5% with 2 degrees of freedom
    assert row(text, "Theirs", "paper") == [f"84.0 ± {half:.1f}", "80.0", "84.0", "88.0"]
    assert row(text, "Rival", "paper") == ["95.0", "90.0", "", "100.0"]
    assert row(text, "ours", "here") == ["80.0 ± 0.0", "80.0", "80.0", "80.0"]
    assert row(text, "golds", "here")[1:] == [f"{100 * GOLD_ACCURACY:.1f}"] * 3
    assert row(text, "idle", "here")[1:] == ["0.0"] * 3
    floor = 100 * sum(made[0].floor_means("label_accuracy").values()) / 3
    assert row(text, "gold against gold", "here")[0].startswith(f"{floor:.1f} ± ")


def test_text_quotes_means_cells_and_paired_differences(plan, made):
    text = page(plan, made)
    assert "Theirs 84.0 ± 9.9, ours 80.0, less -10.0 ± 0.0." in text
    assert "## A section\n\nOf 70.0 ± 0.0." in text


def test_a_claim_is_judged_by_its_paired_difference(plan, made):
    text = page(plan, made)
    claims = [
        [cell.strip() for cell in line.split("|")][1:-1]
        for line in text.partition("## What holds")[2].partition("## The figures")[0].splitlines()
        if re.match(r"\| .*\| (paper|here) ", line)
    ]
    assert [one[2:] for one in claims] == [
        ["Theirs - Rival", "-11.0", "too few cells"],  # the two cells that both have
        ["ours - other", "-10.0 ± 0.0", "holds"],
        ["other - ours", "+10.0 ± 0.0", "refuted"],
        ["ours - again", "+0.0 ± 0.0", "not shown"],
    ]


MISTAKES = {
    "an unknown key": ('title = "A page"', 'name = "A page"', "name: Extra inputs"),
    "no TOML": ('title = "A page"', "title", "is not TOML"),
    "an unknown task": ("made@1", "other@1", "there are no records of other@1"),
    "an unknown entry": ('label = "other"', 'label = "gone"', "no records of gone on made@1"),
    "an unknown metric": ('"forget_accuracy"', '"beauty"', "has no metric 'beauty'"),
    "an unknown row in text": ("accuracy | Theirs", "accuracy | gone", "no row 'gone', only"),
    "an unknown cell in text": ("ours at A", "ours at Z", "has no cell Z"),
    "an unknown table in text": ("{accuracy | golds}", "{x | golds}", "quotes a table 'x'"),
    "an unknown table in a claim": ('table = "accuracy"', 'table = "x"', "names a table 'x'"),
    "a quoted row without cells": ('A = "a-50", B = "b-50", C = "c-50"', "", "has no cell"),
    "an unknown row in a claim": ('["ours", "other"]', '["ours", "gone"]', "no row 'gone'"),
    "two rows of one label": ('label = "again"', 'label = "Theirs"', "two rows are called"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_the_plan(plan, made, kind):
    right, wrong, message = MISTAKES[kind]
    assert right in PLAN
    with pytest.raises(UserError, match=message):
        page(plan, made, PLAN.replace(right, wrong, 1))


@pytest.mark.parametrize(
    ("figures", "message"),
    [("a,b\n", "the first line is not"), (FIGURES + "accuracy,Rival,B,much\n", "line 7: not a")],
)
def test_a_mistake_in_the_figures(plan, made, figures, message):
    plan.with_suffix(".csv").write_text(figures)
    with pytest.raises(UserError, match=message):
        page(plan, made)


def test_figures_that_are_not_there(plan, made):
    plan.with_suffix(".csv").unlink()
    with pytest.raises(UserError, match="there is no file"):
        page(plan, made)


def test_a_table_of_published_figures_alone(plan, made):
    text = page(plan, made, 'title = "T"\nintroduction = "I"\n[[tables]]\nname = "accuracy"\n'
                'title = "Theirs alone"\ndigits = 0\n')  # fmt: skip
    assert row(text, "Theirs", "paper") == ["84 ± 10", "80", "84", "88"]
    assert "| here" not in text and "## What holds" not in text
