"""Which entries are drawn, what they are called, and how they look."""

import re

from mubench.board.plots.draw import draw
from mubench.board.plots.style import COLOURS, GREYS, MOST_ENTRIES, display_name, shown, styles
from tests.helpers.boards import boards
from tests.helpers.lab import Lab, make_task


def test_what_is_incomplete_is_marked_controls_too(lab, tmp_path):
    lab.add("partial", "a-20")
    lab.add("guess", "a-40", control=True)
    (board,) = boards(lab)
    names = {display_name(entry) for entry in shown(board)}
    assert names == {"alpha", "beta", "nothing", "partial*", "guess*"}
    for path in draw([board], tmp_path / "plots"):
        if path.suffix == ".svg":
            texts = set(re.findall(r"<!-- (.*?) -->", path.read_text()))
            assert names <= texts, path.name
            assert any("*: cases or seeds" in text for text in texts)


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


def test_colours_go_to_what_is_shown_and_differ_on_each_plot(tmp_path):
    """By name, ten others would have taken every colour before the best ones."""
    lab = Lab(tmp_path / "one", make_task(classes=("a", "b")))
    for index in range(len(COLOURS)):
        lab.add(f"a-{index}", "a-50")
    for name in ("y", "z"):
        lab.add_entry(name, accuracy=0.72)
    other = Lab(tmp_path / "other", make_task("other", classes=("a", "b")))
    for name in ("y", "a-0", "m", "n", "o"):
        other.add_entry(name)
    both = boards(lab) + boards(other)
    looks = styles(both)
    first, second = (list(dict.fromkeys(entry.method for entry in shown(b))) for b in both)
    assert set(first[:2]) == {"y", "z"}
    assert [looks[name].colour for name in first[: len(COLOURS)]] == list(COLOURS)
    assert len({looks[name].colour for name in second}) == len(second) == 5


def test_many_entries(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a", "b")))
    for index in range(MOST_ENTRIES + 3):
        lab.add_entry(f"method-{index}", accuracy=0.5 + index / 40)
    lab.add_entry("original", accuracy=1.0, control=True)
    (board,) = boards(lab)
    assert len(shown(board)) == MOST_ENTRIES + 1
    assert len(draw([board], tmp_path / "plots")) == 4
