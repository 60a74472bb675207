"""What is said of entries: by hand, and how often it is wrong when nothing is to be found."""

from itertools import product

import numpy as np
import pytest

from mubench.board.hypotheses import SIGNIFICANCE, false_discovery
from mubench.board.verdicts import Evidence, Verdict, groups, judge, retraining_p

CASES = 10


def evidence(
    margin, activation=0.2, lost=0.0, nothing=1.6, floor=1.2, spread=0.05, seed=0, labels=0.1
):
    """An entry whose cases scatter around these means."""
    rng = np.random.default_rng([seed, 7])

    def around(mean):
        return mean + spread * rng.standard_normal(CASES)

    return Evidence(
        margin_C=around(margin),
        activation_C=around(activation),
        lost_accuracy_C=lost + 0.001 * rng.standard_normal(CASES),
        nothing_margin_C=np.full(CASES, nothing),
        nothing_activation_C=np.full(CASES, 0.2),
        floor_margin_C=np.full(CASES, floor),
        shift_C=around(0),
        label_gain_C=labels + 0.001 * rng.standard_normal(CASES),
        nothing_label_gain_C=np.zeros(CASES),
        floor_label_gain_C=np.full(CASES, 0.1),
    )


def test_verdicts():
    judged = judge({
        "as another gold": evidence(1.2, seed=1),
        "half way": evidence(1.4, seed=2),
        "nothing": evidence(1.6, seed=3),
        "away": evidence(2.0, seed=4),
        "hardly closer": evidence(1.59, spread=0.001, seed=7),
        "hardly further": evidence(1.61, spread=0.001, seed=8),
        "random wrong classes": evidence(1.25, activation=0.3, seed=5),
        "forgetful": evidence(1.2, lost=0.03, seed=6),
        "wrong and forgetful": evidence(1.22, activation=0.3, lost=0.03, seed=9),
        "right number of wrong images": evidence(1.25, labels=0.02, seed=10),
        "a little less of the hard ones": evidence(1.3, labels=0.097, seed=12),
    })  # fmt: skip
    found = {label: (one.verdict, one.keeps_model, one.passes) for label, one in judged.items()}
    assert found == {
        "as another gold": (Verdict.EQUIVALENT, True, True),
        "half way": (Verdict.BETTER, True, True),
        "nothing": (Verdict.NOT_SHOWN, True, False),
        "away": (Verdict.WORSE, True, False),
        "hardly closer": (Verdict.NOT_SHOWN, True, False),  # by 2% of the gap, in every case
        "hardly further": (Verdict.NOT_SHOWN, True, False),
        "random wrong classes": (Verdict.NOT_SHOWN, True, False),
        "forgetful": (Verdict.EQUIVALENT, False, False),
        "wrong and forgetful": (Verdict.NOT_SHOWN, False, False),
        "right number of wrong images": (Verdict.BETTER, True, True),
        "a little less of the hard ones": (Verdict.EQUIVALENT, True, True),
    }
    in_order = sorted(judged, key=lambda label: judged[label].order)
    assert in_order == [
        "as another gold", "right number of wrong images", "a little less of the hard ones",
        "half way", "forgetful", "random wrong classes", "hardly closer",
        "nothing", "hardly further", "wrong and forgetful", "away",
    ]  # fmt: skip
    assert judged["half way"].gap_closed.value == pytest.approx(0.5, abs=0.05)
    assert judged["random wrong classes"].p_activation_worse < 0.05


def test_the_p_of_better_is_that_of_ten_lines_of_numpy():
    entries = {"one": evidence(1.45, spread=0.2, seed=1), "two": evidence(1.55, spread=0.2, seed=2)}
    signs = np.array(list(product((1, -1), repeat=CASES)))
    plain = []
    for entry in entries.values():
        gained = entry.nothing_margin_C - entry.margin_C
        gained -= 0.05 * (entry.nothing_margin_C - entry.floor_margin_C)
        plain.append(np.mean(signs @ gained >= gained.sum() - 1e-12))
    low, high = sorted(plain)
    expected = {low: min(2 * low, high), high: high}  # Benjamini and Hochberg
    judged = judge(entries)
    for label, p in zip(entries, plain, strict=True):
        assert judged[label].p_better == pytest.approx(expected[p])


def test_where_nothing_is_as_close_as_a_gold_there_is_no_gap_to_close():
    judged = judge({"m": evidence(1.2, nothing=1.0)})["m"]
    assert judged.gap_closed is None
    assert judged.verdict is Verdict.WORSE


def test_two_cases_show_nothing():
    few = {"m": Evidence(*(np.ones(2) for _ in range(10)))}
    assert judge(few) == {}
    assert judge({}) == {}


def test_letters_tell_who_cannot_be_told_apart():
    rng = np.random.default_rng(0)
    base = rng.normal(1.2, 0.1, CASES)
    margins = {
        "first": base,
        "alike": base + 0.01 * rng.standard_normal(CASES),
        "behind": base + 0.1,
        "noisy": base + 0.05 + 0.2 * rng.standard_normal(CASES),
    }
    assert groups(margins) == {"first": "ab", "alike": "ab", "behind": "c", "noisy": "bc"} or (
        groups(margins) == {"first": "a", "alike": "a", "behind": "b", "noisy": "ab"}
    )
    assert groups({"alone": base}) == {"alone": "a"}
    assert groups({}) == {}


PAIRS = ((0, 1), (0, 2), (1, 2))
FLOOR = 2 / np.sqrt(np.pi)
"""The expected distance of two draws from a normal distribution of unit spread."""


def simulated_board(rng, shift, num_methods=5, num_samples=100):
    """Methods and golds drawn from one distribution per sample, the methods then moved by a shift.

    A case has three golds. The margins of a sample have a mean and a spread of their own.

    Args:
        rng: where numbers come from.
        shift: of the methods' margins, in floors of their sample.
        num_methods: entries of the board.
        num_samples: of each D_f.
    """
    margins_CR, shift_CR = np.empty((2, CASES, num_methods))
    floor_C = np.empty(CASES)
    for case in range(CASES):
        center_N = rng.normal(2, 1.5, num_samples)
        spread_N = rng.gamma(2, 0.5, num_samples)
        golds_GN = center_N + spread_N * rng.standard_normal((3, num_samples))
        drawn_RN = center_N + spread_N * rng.standard_normal((num_methods, num_samples))
        drawn_RN += shift * FLOOR * spread_N
        floor_C[case] = np.mean([np.abs(golds_GN[a] - golds_GN[b]).mean() for a, b in PAIRS])
        margins_CR[case] = np.abs(drawn_RN[:, None] - golds_GN).mean(axis=(1, 2))
        shift_CR[case] = (drawn_RN - golds_GN.mean(axis=0)).mean(axis=1)
    flat_C, none_C = np.full(CASES, 0.2), np.zeros(CASES)
    return {
        f"method {r}": Evidence(
            margin_C=margins_CR[:, r],
            activation_C=flat_C,
            lost_accuracy_C=none_C,
            nothing_margin_C=1.5 * floor_C,
            nothing_activation_C=flat_C,
            floor_margin_C=floor_C,
            shift_C=shift_CR[:, r],
            label_gain_C=none_C,
            nothing_label_gain_C=none_C,
            floor_label_gain_C=none_C,
        )
        for r in range(num_methods)
    }


def share_told(shift, boards, num_methods):
    """Share of boards on which any of some methods is told from retraining.

    The signs of all boards are flipped at once, as `judge` flips those of one.

    Args:
        shift: of the methods, in floors of their sample.
        boards: how many are drawn.
        num_methods: entries of each board.
    """
    rng = np.random.default_rng(1)
    drawn = [list(simulated_board(rng, shift, num_methods).values()) for _ in range(boards)]
    beyond_CE = np.stack([e.margin_C - e.floor_margin_C for one in drawn for e in one], axis=1)
    shift_CE = np.stack([e.shift_C for one in drawn for e in one], axis=1)
    p_BM = np.reshape(retraining_p(beyond_CE, shift_CE), (boards, num_methods))
    adjusted = [false_discovery(p_M) for p_M in p_BM.tolist()]
    judged = judge(dict(zip("abcde", drawn[0], strict=False)))
    assert [one.p_retraining for one in judged.values()] == pytest.approx(adjusted[0])
    return np.mean([min(p_M) < SIGNIFICANCE for p_M in adjusted])


@pytest.mark.slow
def test_on_one_board_of_twenty_at_most_retraining_is_told_from_retraining():
    assert share_told(0.0, boards=400, num_methods=5) <= 0.05


@pytest.mark.slow
def test_a_shift_of_half_a_floor_is_found():
    assert share_told(0.5, boards=50, num_methods=1) >= 0.8
