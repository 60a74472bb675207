"""Writing the plots of a board."""

import xml.etree.ElementTree as ET

from mubench.board.plots.draw import draw, draw_methods
from mubench.board.plots.style import planned
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


def test_plots_of_a_task(lab, tmp_path):
    lab.add("partial", "a-20")
    lab.fail("broken", "a-20")
    (board,) = boards(lab)
    assert [plot.kind for plot in planned(board)] == ["scaling", "cost", "cases"]
    written = draw([board], tmp_path / "plots")
    assert sorted(path.name for path in written) == [
        "made-cases.png", "made-cases.svg", "made-cost.png", "made-cost.svg",
        "made-scaling.png", "made-scaling.svg",
    ]  # fmt: skip
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
        else:
            assert ET.fromstring(content).tag.endswith("svg")


def test_only_failures_draw_nothing(tmp_path):
    lab = Lab(tmp_path, make_task())
    lab.fail("broken", "a-50")
    assert draw(boards(lab), tmp_path / "plots") == []


def test_plots_of_methods_are_of_those_that_have_a_measured_entry(lab, tmp_path):
    lab.fail("broken", "a-20")
    (board,) = boards(lab)
    names = ["alpha", "broken", "beta", "unknown"]
    written = draw_methods([board], names, tmp_path / "plots")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "plots/methods/alpha-made.png", "plots/methods/beta-made.png",
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
