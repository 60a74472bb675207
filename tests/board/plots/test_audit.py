"""The plot of the audit: a curve per entry, chance, and what stands in the legend."""

import numpy as np
import pytest

from mubench.board.plots.audit import audit
from mubench.board.plots.draw import draw
from mubench.board.plots.style import planned, styles
from mubench.record.audit.lira import FPR, Leak
from tests.helpers.audits import lab_shadows, write_audits
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


@pytest.fixture
def audited(tmp_path):
    """A board of an entry like the golds, and of one that is surer of D_f than any gold."""
    lab = Lab(tmp_path / "results", make_task())
    lab.add_entry("like-golds", accuracy=0.7)
    for case in lab.cases:
        rng = np.random.default_rng([9, lab.cases.index(case)])
        lab.add("member", case, readout=lab.readout(case, rng, 1.0, sharpness=12.0))
    write_audits(lab, lab_shadows(lab))
    lab.add_entry("not-audited")
    (board,) = boards(lab)
    return board


def test_a_curve_per_audited_entry_and_the_share_that_is_found(audited):
    figure = audit(audited, "a title", styles([audited]))
    (axes,) = figure.axes
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0].startswith("chance")
    assert [name.partition(":")[0] for name in names[1:]] == ["member", "like-golds"]
    leaks = {
        entry.label: Leak.of([one.scores for one in entry.records])
        for entry in audited.entries
        if entry.records[0].scores
    }
    assert leaks["member"].tpr.mean > leaks["like-golds"].tpr.mean
    assert f" {100 * leaks['member'].tpr.mean:.0f} ± " in names[1]
    points = [line for line in axes.lines if list(line.get_xdata()) == [FPR]]
    assert [line.get_ydata()[0] for line in points] == [
        leaks["member"].tpr.mean, leaks["like-golds"].tpr.mean,
    ]  # fmt: skip
    assert axes.get_xscale() == "log"
    chance = axes.lines[0]
    assert np.array_equal(chance.get_xdata(), chance.get_ydata())
    footnote = " ".join(text.get_text() for text in figure.texts)
    assert "200 samples of D_f of 4 cases" in footnote
    assert "600 answers" in footnote


def test_what_is_written_beside_the_axes_stays_on_the_page(audited):
    figure = audit(audited, "a title", styles([audited]))
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1
    assert legend.x0 >= figure.axes[0].get_window_extent().x1
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.texts)


def test_only_a_task_with_audited_records_has_the_plot(audited, tmp_path):
    assert [plot.kind for plot in planned(audited)] == ["cost", "cases", "audit"]
    other = Lab(tmp_path / "other", make_task())
    other.add_entry("not-audited")
    assert [plot.kind for plot in planned(*boards(other))] == ["cost", "cases"]
    written = {path.name for path in draw([audited], tmp_path / "plots")}
    assert {"made-audit.png", "made-audit.svg"} <= written
