"""The page: its plots, its tables over sizes, its excerpt and its numbers for programs."""

import json

import numpy as np
import pytest

from mubench.board.pages.entries_table import COLUMNS, EXCERPT_COLUMNS
from mubench.board.pages.excerpt import excerpt
from mubench.board.pages.leaderboard import render
from mubench.board.plots.draw import draw
from mubench.board.plots.style import planned
from mubench.board.table import frame
from mubench.record.flags import Flag
from mubench.record.folder import read_record
from mubench.record.measures import MEASURES, Place, shown_in
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task, whole_classes


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


@pytest.mark.parametrize(("count", "is_told"), [(3, True), (4, True), (5, False)])
def test_too_few_cases_for_any_test_are_told(tmp_path, count, is_told):
    lab = Lab(tmp_path / "results", make_task(classes=tuple("abcde"[:count])))
    lab.add_entry("m", accuracy=0.72)
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert (f"Of {count} cases no test can show anything" in page) is is_told
    assert (board.entries[0].rank is None) is is_told
    assert (", as so few cases can show nothing." in page) is is_told


def test_frame_has_numbers_for_programs(lab):
    lab.add_entry("m", accuracy=0.9)
    table = frame(boards(lab)).set_index("method")
    assert table.loc["m", "delta"] == pytest.approx(20, abs=1)
    assert table.loc["m", "cases"] == 4
    assert table.loc["floor", "standing"] == "floor"


def test_columns_follow_from_the_measures(lab):
    names = [column.name for column in COLUMNS]
    first, *others = (measure.name for measure in shown_in(Place.PAGE))
    start = ["rank", "method", "verdict", first, "claimed", "gap_closed", "group"]
    assert names[:-4] == [*start, *others]
    assert names[-4:] == ["access", "cases", "again", "note"]
    assert [column.name for column in EXCERPT_COLUMNS] == [
        name for name in names
        if name in ("rank", "method", "verdict", "gap_closed", "note")
        or (name in MEASURES and Place.EXCERPT in MEASURES[name].places)
    ]  # fmt: skip
    lab.add_entry("m")
    assert MEASURES.keys() < set(frame(boards(lab)).columns)


def test_how_to_read_explains_each_measure_of_the_page(lab):
    lab.add_entry("m")
    reading = " ".join(render(boards(lab), [], "results").partition("## How to")[2].split())
    for measure in shown_in(Place.PAGE):
        assert (f"- {measure.explanation}" in reading) is not measure.is_stated


def test_how_to_read_explains_the_flags_that_occur(lab):
    lab.add_entry("m", flags=(Flag.BN_ONLY,))
    lab.add_entry("dear", forward_samples=9000, backward_samples=9000)
    reading = render(boards(lab), [], "results").partition("## How to")[2]
    reading = " ".join(reading.split())
    assert reading.endswith(
        f"- **over budget**: {Flag.OVER_BUDGET.meaning} - **bn-only**: {Flag.BN_ONLY.meaning}"
    )


def test_a_control_has_no_budget(lab):
    lab.add_entry("idle", control=True, forward_samples=9000, backward_samples=9000)
    assert Flag.OVER_BUDGET.meaning not in render(boards(lab), [], "results")


def test_the_membership_gap_has_a_column_where_records_state_it(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=("a",)), num_peers=20)
    path = lab.add("m", "a-50")
    stated = read_record(path)
    board, *_ = boards(lab)
    page = render([board], [], "results")
    headings, values, floor = (
        [cell.strip() for cell in line.split("|")]
        for line in page.splitlines()
        if line.startswith(("| rank", "|        | m ", "|        | *floor*"))
    )
    place = headings.index("MIA gap")
    assert values[place] == f"{100 * stated.metrics['mia_accuracy_gap'].value:.1f}"
    assert floor[place] == f"{100 * stated.floor['mia_accuracy_gap'].value:.1f}"
    assert "- **MIA gap**" in page
    for kind in ("metrics", "floor", "nothing"):  # a record from before the measure
        content = json.loads(path.read_text())
        del content[kind]["mia_accuracy_gap"]
        path.write_text(json.dumps(content))
    assert "MIA gap" not in render(boards(lab), [], "results")
