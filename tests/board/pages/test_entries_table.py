"""The table of a task: its columns and the cells of its rows."""

import json

from mubench.board.pages.entries_table import COLUMNS, EXCERPT_COLUMNS
from mubench.board.pages.leaderboard import render
from mubench.board.table import frame
from mubench.record.flags import Flag
from mubench.record.folder import read_record
from mubench.record.measures import MEASURES, Place, shown_in
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


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
