"""Methods on a whole digit and on images of all digits, measured and shown as on the board."""

import pytest

from mubench.board.ledger import ledgers
from mubench.board.pages.entries_table import MethodPage
from mubench.board.pages.leaderboard import render
from mubench.board.ranking import build
from mubench.record.check import read_results
from mubench.run.notebook import measure
from mubench.task.installed import load_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

METHODS = ("original", "finetune", "unsir", "delete", "amun")
"""A control, one for all kinds of forget sets, two for whole classes, one for random images."""
TASKS = ("digits-class", "digits-random")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Task and method to the record of its first case."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for task in TASKS:
            for method in METHODS:
                measure(method, task, results=results)
    read = read_results(results, [load_task(task) for task in TASKS])
    assert read.rejected == ()
    return {
        (one.record.task.partition("@")[0], one.record.method): one for one in read.checked
    }  # fmt: skip


def test_every_run_is_scored(checked):
    assert checked.keys() == {(task, method) for task in TASKS for method in METHODS}
    assert {one.record.status for one in checked.values()} == {"ok"}


def test_golds_know_nothing_of_a_whole_digit_and_are_alike(checked):
    one = checked["digits-class", "original"]
    assert one.values["gold_forget_accuracy"] == 0
    assert one.values["delta"] > 90
    assert max(one.floor["margin_distance"]) < 1
    assert one.nothing["margin_distance"] > 8
    assert one.values["label_gain"] < -0.9


def test_golds_know_most_random_digits(checked):
    one = checked["digits-random", "original"]
    assert one.values["gold_forget_accuracy"] > 0.7
    assert one.nothing["margin_distance"] < 5


def test_a_method_for_whole_classes_gets_nearer_there(checked):
    """Leaving the label out sends a whole class away; doing nothing does not."""
    margin = checked["digits-class", "delete"].values["margin_distance"]
    assert margin < 0.9 * checked["digits-class", "delete"].nothing["margin_distance"]


def test_the_page_marks_use_that_methods_are_not_made_for(checked):
    pages = {name: MethodPage(f"{name}.md", ledger) for name, ledger in ledgers().items()}
    marked = {}
    for task in TASKS:
        own = [one for (name, _), one in checked.items() if name == task]
        (board,) = build(own, [load_task(task)])
        page = render([board], [], "results", pages=pages)
        rows = [line for line in page.splitlines() if ".md) " in line and line.startswith("|   ")]
        assert len(rows) == len(METHODS) - 1
        marked[task] = {row.split("[")[1].split("]")[0] for row in rows if "off-design" in row}
        assert "Of 3 cases no test can show anything" in page
    assert marked == {"digits-class": {"amun"}, "digits-random": {"unsir", "delete"}}
