"""How the page says to read its tables."""

from mubench.board.pages.leaderboard import render
from mubench.record.flags import Flag
from mubench.record.measures import Place, shown_in
from tests.helpers.boards import boards


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
