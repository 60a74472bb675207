"""Boards of records made by hand."""

from mubench.board.ranking import build
from mubench.record.check import read_results
from tests.helpers.lab import Lab, make_task


def boards(lab):
    read = read_results(lab.results, [lab.task])
    assert read.rejected == ()
    return build(read.checked, [lab.task])


def three_sizes(results):
    """A task with two classes of three sizes."""
    lab = Lab(results, make_task(classes=("a", "b"), sizes=(20, 40, 80)))
    lab.add_entry("alpha", accuracy=0.8)
    lab.add_entry("beta", accuracy=0.9, knowledge=0.1)
    lab.add_entry(
        "nothing", accuracy=1.0, control=True, forward_samples=0, backward_samples=0, seconds=0.0
    )
    return lab
