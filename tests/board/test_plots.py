import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mubench.board.plots.draw import draw
from mubench.board.plots.label_placement import Label, _spread, beside_points
from mubench.board.plots.style import COLOURS, GREYS, MOST_ENTRIES, name, planned, shown, styles
from mubench.board.ranking import build
from mubench.cli.main import main
from mubench.record.check import read_results
from tests.helpers.lab import Lab, make_task, spec_text


def boards(lab):
    return build(read_results(lab.results, [lab.task]).checked, [lab.task])


@pytest.fixture
def lab(tmp_path):
    """A task with two classes of three sizes."""
    lab = Lab(tmp_path / "results", make_task(classes=("a", "b"), sizes=(20, 40, 80)))
    lab.add_entry("alpha", accuracy=0.8)
    lab.add_entry("beta", accuracy=0.9, knowledge=0.1)
    lab.add_entry(
        "nothing", accuracy=1.0, control=True, forward_samples=0, backward_samples=0, seconds=0.0
    )
    return lab


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


def test_svg_is_the_same_each_time(lab, tmp_path):
    written = draw(boards(lab), tmp_path / "one")
    draw(boards(lab), tmp_path / "two")
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_one_class_one_size_and_no_floor(tmp_path):
    task = make_task(classes=("a",), sizes=(20, 40))
    lab = Lab(tmp_path, task)
    lab.add_entry("alpha")
    (board,) = boards(lab)
    assert len(draw([board], tmp_path / "plots")) == 6
    bare = board.__class__(board.task, board.entries, {}, {})  # as of a task with one gold
    assert len(draw([bare], tmp_path / "plots")) == 6


def test_what_is_incomplete_is_marked_controls_too(lab, tmp_path):
    lab.add("partial", "a-20")
    lab.add("guess", "a-40", control=True)
    (board,) = boards(lab)
    names = {name(entry) for entry in shown(board)}
    assert names == {"alpha", "beta", "nothing", "partial*", "guess*"}
    for path in draw([board], tmp_path / "plots"):
        if path.suffix == ".svg":
            texts = set(re.findall(r"<!-- (.*?) -->", path.read_text()))
            assert names <= texts, path.name
            assert any("*: cases or seeds" in text for text in texts)


def test_only_failures_draw_nothing(tmp_path):
    lab = Lab(tmp_path, make_task())
    lab.fail("broken", "a-50")
    assert draw(boards(lab), tmp_path / "plots") == []


def test_colours_are_the_methods_own(lab, tmp_path):
    lab.add("alpha", "a-20", parameters={"lr": 0.7})
    other = Lab(tmp_path / "other", make_task("other"))
    other.add_entry("beta")
    looks = styles(boards(lab) + boards(other))
    assert looks.keys() == {"alpha", "beta", "nothing"}
    assert looks["alpha"].colour == COLOURS[0]
    assert looks["beta"].colour == COLOURS[1]
    assert looks["nothing"].colour in GREYS
    assert looks["alpha"].marker != looks["beta"].marker


def test_many_entries(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a", "b")))
    for index in range(MOST_ENTRIES + 3):
        lab.add_entry(f"method-{index}", accuracy=0.5 + index / 40)
    lab.add_entry("original", accuracy=1.0, control=True)
    (board,) = boards(lab)
    assert len(shown(board)) == MOST_ENTRIES + 1
    assert len(draw([board], tmp_path / "plots")) == 4


@pytest.mark.parametrize("wanted", [[], [5], [1, 2, 3], [50, 50, 50], [1, 1, 99, 99, 50]])
def test_labels_at_line_ends_do_not_overlap(wanted):
    placed = _spread(sorted(wanted), 10, 0, 100)
    assert len(placed) == len(wanted)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(placed))
    assert all(0 <= p <= 100 for p in placed)


def test_labels_beside_points_do_not_overlap():
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [Label(f"method-{i}", 0.5 + i / 100, 0.5, "black") for i in range(6)]
    beside_points(axes, labels)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_command(lab, tmp_path):
    (tmp_path / "made.toml").write_text(spec_text(classes=("a", "b"), sizes=(20, 40, 80)))
    arguments = ["--results", str(lab.results), "--out", str(tmp_path / "plots")]
    result = CliRunner().invoke(main, ["plot", *arguments, "--task", str(tmp_path / "made.toml")])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "plots").iterdir())) == 6
