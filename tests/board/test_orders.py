"""The order of methods at their defaults against that at a preset: by hand, and on the page."""

import pytest

from mubench.board.orders import Agreement, agreement
from mubench.board.pages.leaderboard import render
from mubench.record.flags import Flag
from tests.helpers.boards import boards

EVEN = (0.74, 0.78, 0.82, 0.86, 0.9)
"""Accuracies on D_f from near the golds' to near the original's."""


def add_both(lab, accuracies, preset_accuracies, preset="tuned"):
    """Entries of methods m0, m1 and so on, at their defaults and at a preset."""
    for number, (own, other) in enumerate(zip(accuracies, preset_accuracies, strict=True)):
        lab.add_entry(f"m{number}", accuracy=own, changed=())
        settings = {"parameters": {"lr": 0.2, "epochs": 1}, "changed": ("lr",), "preset": preset}
        lab.add_entry(f"m{number}", accuracy=other, **settings)


def words(lab, preset):
    """What the page says of a preset, in one line."""
    page = render(boards(lab), [], "results")
    point = page.partition(f"- **{preset}**: ")[2]
    return " ".join(point.partition("\n- ")[0].partition("\n\n")[0].split())


def test_ties_give_no_evidence():
    """Of the six orders of three methods, the tie makes four agree or disagree as far."""
    tied = Agreement({"a": (0.0, 0.1), "b": (0.0, 0.2), "c": (0.5, 0.3)})
    assert (tied.kept, tied.pairs) == (2, 3)
    assert tied.p == pytest.approx(2 / 3)
    same = Agreement({"a": (0.0, 0.1), "b": (0.0, 0.2), "c": (0.0, 0.3)})
    assert (same.kept, same.tau, same.p) == (0, 0.0, 1.0)


def test_gap_closed_is_over_the_cases_of_both_entries(lab):
    lab.add_entry("m", accuracy=0.8, changed=())
    settings = {"parameters": {"lr": 0.2}, "changed": ("lr",), "preset": "tuned"}
    for case in lab.cases[:2]:
        lab.add("m", case, accuracy=0.7, **settings)
    (board,) = boards(lab)
    by_label = {entry.label: entry for entry in board.entries}
    expected = []
    for label in ("m", "m (tuned)"):
        means = by_label[label].case_means
        gained, gap = (
            sum(
                means["nothing_margin_distance"][case] - less[case] for case in lab.cases[:2]
            )
            for less in (means["margin_distance"], board.floor_means("margin_distance"))
        )  # fmt: skip
        expected.append(gained / gap)
    assert agreement(board, "tuned").gaps == {"m": pytest.approx(tuple(expected))}
    assert agreement(board, "paper").gaps == {}


@pytest.mark.parametrize(("accuracies", "said"), [
    ((), "no method has records"), (EVEN[:1], "1 method (`m0`) has records"),
    (EVEN[:2], "2 methods (`m0`, `m1`) have records"),
])  # fmt: skip
def test_fewer_than_three_methods_get_no_number(lab, accuracies, said):
    lab.add_entry("alone", changed=())
    add_both(lab, accuracies, accuracies)
    text = words(lab, "tuned")
    assert text == (
        f"{said} of both the defaults and `tuned`. An order of fewer than 3 says nothing."
    )


def test_equal_orders_of_few_methods_are_not_taken_for_evidence(lab):
    add_both(lab, EVEN[:4], EVEN[:4])
    assert words(lab, "tuned") == (
        "4 methods have records of both the defaults and `tuned`. 6 of 6 pairs stand in the same "
        "order by gap closed (Kendall's τ +1.00, p 0.083). Not even equal orders of so few methods "
        "would be told from chance."
    )


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((0, 1, 2, 3, 4), "τ +1.00, p 0.017). The methods keep their order, so it is more than"),
        ((4, 3, 2, 1, 0), "τ -1.00, p 0.017). The order turns around, so it is an order of"),
        ((1, 0, 4, 2, 3), "τ +0.40, p 0.483). The two orders are not shown to be related."),
    ],
)
def test_five_methods_can_show_an_order(lab, order, expected):
    add_both(lab, EVEN, [EVEN[place] for place in order], preset="paper")
    assert expected in words(lab, "paper")
    assert "no method has" in words(lab, "tuned")


def test_controls_are_not_counted(lab):
    add_both(lab, EVEN, EVEN)
    lab.add_entry("idle", control=True, flags=(Flag.NO_OP,), changed=())
    settings = {"parameters": {"lr": 0.2}, "changed": ("lr",), "preset": "tuned"}
    lab.add_entry("idle", control=True, **settings)
    assert words(lab, "tuned").startswith("5 methods")
