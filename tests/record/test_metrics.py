"""Every metric by hand, against scikit-learn, and what holds for any models."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from mubench.record.metrics import energy_distance, floor, score
from mubench.record.readout import compact
from mubench.record.stacked import MARGIN_LIMIT
from tests.helpers.readouts import G1, G2, G3, U, random_readout, readout


def values(scores):
    return {name: item.value for name, item in scores.items()}


BY_HAND = {
    "delta": 25.0,  # |75 - 50| for both golds
    "delta_signed": 25.0,
    "forget_accuracy": 3 / 4,
    "retain_accuracy": 0.9,
    "test_accuracy": 4 / 5,
    "gold_forget_accuracy": 1 / 2,
    "gold_test_accuracy": (3 / 5 + 5 / 5) / 2,
    # gaps in f, r, t: g1 .25 .05 .2, g2 .25 .1 .2
    "tow": (0.75 * 0.95 * 0.8 + 0.75 * 0.9 * 0.8) / 2,
    "avg_gap": (0.25 + 0.05 + 0.2 + 0.25 + 0.1 + 0.2) / 6,
    # Of two classes, L2 = sqrt 2 |p - q|: g1 0 .2 0 .3 (mean .125), g2 .2 .1 .1 .5 (mean .225)
    "activation_distance": 0.175 * math.sqrt(2),
    # mean gold .7 .55 .25 .5; |p - q| = .1 .05 .05 .4
    "activation_distance_to_mean": 0.15 * math.sqrt(2),
    "completeness": 3 / 4,  # g1 differs in sample 2, g2 in sample 4
    "label_accuracy": 3 / 4,  # the same samples, as there are two classes
    "all_easy_rate": 1 / 2,
    "label_gain": 1 / 4,
    # Of two classes, margin = log(p / (1 - p)), here log of 4 3/2 3/7 9 against g1's 4 2/3 3/7 3/2
    # and g2's 3/2 7/3 1/4 2/3; |difference| = log of 1 9/4 1 6, and of 8/3 14/9 12/7 27/2.
    "margin_distance": math.log(9 / 4 * 6 * 8 / 3 * 14 / 9 * 12 / 7 * 27 / 2) / 8,
    "margin_signed": math.log(4 * 3 / 2 * 3 / 7 * 9) / 4
    - math.log(4 * 2 / 3 * 3 / 7 * 3 / 2 * 3 / 2 * 7 / 3 * 1 / 4 * 2 / 3) / 8,
    # The golds differ by log of 8/3 7/2 12/7 9/4.
    "margin_distance_fair": math.log(9 / 4 * 6 * 8 / 3 * 14 / 9 * 12 / 7 * 27 / 2) / 8
    - math.log(8 / 3 * 7 / 2 * 12 / 7 * 9 / 4) / 8,
    "delta_fair": 25.0,  # the golds do not differ
    # g1: easy 2/2, hard 1/2; g2: easy 2/2, hard 1/2
    "label_balanced_accuracy": 3 / 4,
}


def test_every_metric_by_hand():
    scores = values(score(U, [G1, G2]))
    js = scores.pop("js_divergence")
    assert scores == pytest.approx(BY_HAND, rel=1e-6)
    expected = [
        jensenshannon([p, 1 - p], [q, 1 - q]) ** 2
        for q_gold in ([0.8, 0.4, 0.3, 0.6], [0.6, 0.7, 0.2, 0.4])
        for p, q in zip([0.8, 0.6, 0.3, 0.9], q_gold, strict=True)
    ]
    assert js == pytest.approx(np.mean(expected), rel=1e-6)


def test_js_divergence_by_hand():
    u, gold = readout([0.5]), readout([0.5])
    u = replace(u, forget_logits_NK=np.array([[200, 0]], np.float32))
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4):
    # JS = (ln(4/3) + (ln(2/3) + ln 2) / 2) / 2 = 0.2157616
    assert score(u, [gold])["js_divergence"].value == pytest.approx(0.2157616, abs=1e-7)


def test_gain_over_golds_that_are_mostly_wrong_is_over_calling_every_sample_hard():
    golds = [readout([0.9, 0.1, 0.1, 0.1]), readout([0.9, 0.9, 0.1, 0.1])]
    scores = score(readout([0.9, 0.1, 0.1, 0.9]), golds)
    # Right on 1 and 2 of 4: all easy 3/8, all hard 5/8. Agreement 1 .5 1 0.
    assert scores["all_easy_rate"].value == pytest.approx(3 / 8)
    assert scores["label_accuracy"].value == pytest.approx(5 / 8)
    assert scores["label_gain"].value == pytest.approx(0)
    # Less all hard, 0 .5 1 1, that is 1 0 0 -1: variance 2 / 3.
    assert scores["label_gain"].stderr == pytest.approx(math.sqrt(2 / 3 / 4))


def normal_readout(rng, samples, shift=0.0, spread=1.0):
    """Two classes; the margin of each sample is normal, with its own mean."""
    centers = np.linspace(-1, 1, samples)
    margins = centers + shift + spread * rng.standard_normal(samples)
    return readout(1 / (1 + np.exp(-margins)))


def draws(repeats, samples, num_runs, num_golds, **method):
    """Mean metrics over many draws of a method's runs and of golds with unit spread."""
    rng = np.random.default_rng(0)
    names = "margin_distance", "margin_distance_fair"
    rows = []
    for _ in range(repeats):
        golds = [normal_readout(rng, samples) for _ in range(num_golds)]
        runs = [normal_readout(rng, samples, **method) for _ in range(num_runs)]
        scores = values(score(runs[0], golds))
        energy = energy_distance(runs, golds).value if num_runs > 1 else 0.0
        rows.append([*(scores[name] for name in names), energy])
    return np.mean(rows, axis=0)


def test_equal_distributions_have_no_energy_distance_whatever_the_number_of_golds():
    # E|X - Y| of two unit normals is 2 / sqrt(pi); the fair score is half of that.
    for num_golds in (2, 3, 6):
        distance, fair, energy = draws(60, 200, 2, num_golds)
        assert distance == pytest.approx(2 / math.sqrt(math.pi), abs=0.03)
        assert fair == pytest.approx(1 / math.sqrt(math.pi), abs=0.03)
        assert energy == pytest.approx(0, abs=0.03)


def test_a_shift_has_the_energy_distance_of_the_closed_form():
    # E|N(s, 2)| = 2 exp(-s^2 / 4) / sqrt(pi) + s erf(s / 2); twice that less twice 2 / sqrt(pi).
    expected = 2 * (2 * math.exp(-1 / 4) / math.sqrt(math.pi) + math.erf(1 / 2))
    expected -= 4 / math.sqrt(math.pi)
    assert draws(60, 200, 2, 3, shift=1.0)[2] == pytest.approx(expected, abs=0.03)


def test_a_forecast_of_the_median_is_nearer_than_a_gold_and_yet_no_retraining():
    # A constant c = 0 per sample: E|X| = sqrt(2 / pi) < 2 / sqrt(pi), and the energy distance is
    # 2 sqrt(2 / pi) - 0 - 2 / sqrt(pi) > 0.
    distance, _, energy = draws(60, 200, 2, 3, spread=0.0)
    assert distance == pytest.approx(math.sqrt(2 / math.pi), abs=0.03)
    assert distance < draws(60, 200, 2, 3)[0]
    assert energy == pytest.approx(2 * math.sqrt(2 / math.pi) - 2 / math.sqrt(math.pi), abs=0.03)
    assert energy > 0.4


def test_margins_by_hand_and_clipped():
    u = replace(readout([0.5] * 3), forget_labels_N=np.array([0, 1, 0]))
    logits = np.array([[1, 0], [1, 0], [9, 0]], np.float32)
    u, gold = replace(u, forget_logits_NK=logits), replace(u, forget_logits_NK=np.zeros((3, 2)))
    # Against a margin of 0: 1, -1 and 9, which counts as 5.
    assert score(u, [gold])["margin_distance"].value == pytest.approx((1 + 1 + MARGIN_LIMIT) / 3)
    assert "margin_distance_fair" not in score(u, [gold])


def test_margin_of_several_classes_is_the_log_odds():
    u = random_readout(0, 20, 5, 4)
    zero = replace(u, forget_logits_NK=np.zeros((20, 4), np.float32))
    p_N = u.forget_probs_NK[np.arange(20), u.forget_labels_N]
    expected = np.clip(np.log(p_N / (1 - p_N)), -MARGIN_LIMIT, MARGIN_LIMIT) - math.log(1 / 3)
    found = score(u, [zero])["margin_distance"].value
    assert found == pytest.approx(np.abs(expected).mean(), rel=1e-5)


def test_opposite_outputs_reach_the_bounds():
    u, gold = readout([0.5]), readout([0.5])
    u = replace(u, forget_logits_NK=np.array([[200, -200]], np.float32))
    gold = replace(gold, forget_logits_NK=np.array([[-200, 200]], np.float32))
    scores = score(u, [gold])
    assert scores["activation_distance"].value == pytest.approx(math.sqrt(2))
    assert scores["js_divergence"].value == pytest.approx(math.log(2))
    assert scores["delta_signed"].value == 100  # under-forgetting is positive
    assert score(gold, [u])["delta_signed"].value == -100


def test_golds_on_both_sides_cancel_in_the_signed_delta_only():
    u, low, high = readout([0.9, 0.1]), readout([0.1, 0.1]), readout([0.9, 0.9])
    scores = score(u, [low, high])  # 50 against 0 and 100
    assert (scores["delta"].value, scores["delta_signed"].value) == (50, 0)


def test_completeness_asks_for_the_class_and_label_accuracy_for_rightness():
    labels = {"forget_labels_N": np.zeros(2, np.int64)}
    base = replace(random_readout(0, 2, 2, 3), **labels)
    u = replace(base, forget_logits_NK=np.eye(3, dtype=np.float32)[[1, 0]])
    gold = replace(base, forget_logits_NK=np.eye(3, dtype=np.float32)[[2, 0]])
    scores = score(u, [gold])  # sample 1: both wrong, by different classes
    assert (scores["completeness"].value, scores["label_accuracy"].value) == (0.5, 1.0)


def test_counts_and_standard_errors_by_hand():
    scores = score(U, [G1, G2])
    counts = {name: item.count for name, item in scores.items()}
    assert counts.pop("test_accuracy") == counts.pop("gold_test_accuracy") == 5
    assert counts.pop("retain_accuracy") == 100
    assert counts.pop("tow") == counts.pop("avg_gap") == 4 + 100 + 5
    assert set(counts.values()) == {4}
    errors = {name: item.stderr for name, item in scores.items()}
    # Of 0/1 values: sqrt(p (1 - p) / (n - 1)).
    assert errors["forget_accuracy"] == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    assert errors["retain_accuracy"] == pytest.approx(math.sqrt(0.9 * 0.1 / 99))
    assert errors["test_accuracy"] == pytest.approx(math.sqrt(0.8 * 0.2 / 4))
    # Golds right 1 .5 0 .5; paired differences 0 50 0 50: variance 4 * 25^2 / 3.
    assert errors["delta_signed"] == pytest.approx(math.sqrt(2500 / 3 / 4))
    # Agreement 1 .5 1 .5 less 1 .5 0 .5 is 0 0 1 0.
    assert errors["label_gain"] == pytest.approx(math.sqrt(0.25 * 0.75 / 3))
    assert errors["delta"] is errors["tow"] is errors["label_balanced_accuracy"] is None


def test_one_sample_has_no_standard_error():
    scores = score(readout([0.9]), [readout([0.4])])
    assert all(item.stderr is None for item in scores.values())


def test_ragged_batches_do_not_enter():
    # Batches of 4 and 1: the mean of batch means would be (1 + 0) / 2.
    u = readout([0.9, 0.9, 0.9, 0.9, 0.1], test_right=(1, 1, 1, 1, 0))
    scores = score(u, [u])
    assert scores["test_accuracy"].value == scores["forget_accuracy"].value == 4 / 5


def test_predictors_by_hand():
    reports = {
        "easy": np.array([True, False, False, False]),
        "easy_score": np.array([0.9, 0.5, 0.1, 0.6], np.float32),
    }
    scores = values(score(U, [G1, G2], reports))
    # Wrong in sample 4 for g1 and in sample 2 for g2; recalls 1/2 and 1 for both.
    assert scores["predictor_label_accuracy"] == 3 / 4
    assert scores["predictor_balanced_accuracy"] == 3 / 4
    # g1: easy .9 .6 over hard .5 .1, all 4 pairs; g2: easy .9 .5 over hard .1 .6, 3 of 4.
    assert scores["predictor_auroc"] == pytest.approx((1 + 3 / 4) / 2)


def test_predictors_leave_the_rest_alone():
    scores = score(U, [G1, G2])
    assert score(U, [G1, G2], {"easy": np.ones(4, bool)}).items() >= scores.items()


def test_golds_of_one_class_are_left_out():
    reports = {"easy": np.array([True, False, False, False]), "easy_score": np.arange(4.0)}
    alone, beside = score(U, [G3], reports), score(U, [G1, G3], reports)
    for name in ("label_balanced_accuracy", "predictor_balanced_accuracy", "predictor_auroc"):
        assert name not in alone
        assert beside[name] == score(U, [G1], reports)[name]
    assert alone["predictor_label_accuracy"].value == 1 / 4


def test_label_metrics_agree_with_sklearn():
    u, gold = (random_readout(seed, 60, 3, 4) for seed in (1, 2))
    easy = np.random.default_rng(3).random(60) > 0.4
    graded = np.random.default_rng(4).random(60)
    scores = values(score(u, [gold], {"easy": easy, "easy_score": graded}))
    truth, mine = gold.forget_right_N, u.forget_right_N
    assert scores["label_accuracy"] == pytest.approx(accuracy_score(truth, mine))
    assert scores["label_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, mine))
    assert scores["predictor_balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(truth, easy)
    )
    assert scores["predictor_auroc"] == pytest.approx(roc_auc_score(truth, graded))


def test_membership_inference_next_to_the_golds():
    golds = [random_readout(seed, 100, 300, 3) for seed in (1, 2)]
    same, leaking = random_readout(3, 100, 300, 3), random_readout(3, 100, 300, 3, shift=9)
    scores = score(leaking, golds)
    assert scores["mia_auc"].value > 0.85
    aucs = [gold.attack.auc for gold in golds]
    assert scores["gold_mia_auc"].value == pytest.approx(np.mean(aucs))
    gaps = [abs(scores["mia_auc"].value - auc) for auc in aucs]
    assert scores["mia_gap"].value == pytest.approx(np.mean(gaps))
    accuracies = [gold.attack.accuracy for gold in golds]
    assert scores["gold_mia_accuracy"].value == pytest.approx(np.mean(accuracies))
    gaps = [abs(scores["mia_accuracy"].value - accuracy) for accuracy in accuracies]
    assert scores["mia_accuracy_gap"].value == pytest.approx(np.mean(gaps))
    assert scores["mia_auc"].count == 400
    assert scores["mia_tpr_at_1pct_fpr"].value > score(same, golds)["mia_tpr_at_1pct_fpr"].value
    assert score(same, golds)["mia_gap"].value < 0.1 < scores["mia_gap"].value


def test_membership_inference_is_left_out_when_samples_are_few():
    assert not any("mia" in name for name in score(U, [G1]))


def test_a_stored_readout_scores_as_a_fresh_one():
    fresh = random_readout(1, 40, 150, 3)
    logits = np.random.default_rng(0).normal(0, 1e5, (150, 3)).astype(np.float32)
    fresh = replace(fresh, test_logits_MK=logits, test_predictions_M=logits.argmax(axis=1))
    stored = replace(fresh, test_logits_MK=compact(logits))
    gold = random_readout(2, 40, 150, 3)
    assert score(stored, [gold]) == score(fresh, [gold])


def test_floor_of_two_golds_is_their_mutual_score():
    golds = [random_readout(seed, 30, 60, 3) for seed in (1, 2)]
    one, other = values(score(*golds[:1], golds[1:])), values(score(golds[1], golds[:1]))
    row = floor(golds)
    for name in ("delta", "activation_distance", "js_divergence", "completeness", "tow", "mia_gap"):
        assert row[name].value == pytest.approx(one[name]) == pytest.approx(other[name])
    assert row == floor(golds[::-1])
    assert {item.count for item in row.values()} == {2}
    assert row["delta_signed"].value == pytest.approx(0)


def test_floor_of_three_golds_by_hand():
    row = floor([G1, G2, G3])
    # Accuracies 50, 50, 100: pairs 0, 50, 50.
    assert row["delta"].value == pytest.approx(100 / 3)
    assert row["delta_signed"].value == pytest.approx(0)
    # |p - q|, means over samples: g1 g2 .2, g1 g3 .375, g2 g3 .425
    expected = (0.2 + 0.375 + 0.425) / 3 * math.sqrt(2)
    assert row["activation_distance"].value == pytest.approx(expected)
    # To the mean of the other two: .1875, .2625, .4
    expected = (0.1875 + 0.2625 + 0.4) / 3 * math.sqrt(2)
    assert row["activation_distance_to_mean"].value == pytest.approx(expected)
    # Pairs agree on 2, 2 and 2 of 4 samples; g3 has no hard samples to be balanced over.
    assert row["label_accuracy"].value == pytest.approx(1 / 2)
    assert row["label_balanced_accuracy"].value == pytest.approx(1 / 2)
    # Tests .6, 1, 1 and retain .95, .8, .8: pairs (f, r, t) (0 .15 .4), (.5 .15 .4), (.5 0 0)
    expected = (1 * 0.85 * 0.6 + 0.5 * 0.85 * 0.6 + 0.5) / 3
    assert row["tow"].value == pytest.approx(expected)
    assert {(item.count, item.stderr) for item in row.values()} == {(6, None)}


def test_floor_of_one_gold_is_empty():
    assert floor([G1]) == {}


seeds = st.integers(0, 10**6)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(2, 5))  # n, m, k: no attack
quick = settings(max_examples=60, deadline=None)


@quick
@given(seeds, sizes)
def test_the_gold_itself_is_perfectly_aligned(seed, size):
    gold = random_readout(seed, *size)
    scores = values(score(gold, [gold]))
    zero = ("delta", "delta_signed", "activation_distance", "js_divergence", "avg_gap")
    assert [scores[name] for name in zero] == [0] * len(zero)
    assert scores["tow"] == scores["completeness"] == scores["label_accuracy"] == 1


def test_the_gold_itself_has_no_membership_gap():
    gold = random_readout(1, 20, 60, 2)
    assert score(gold, [gold])["mia_gap"].value == 0


@quick
@given(st.tuples(seeds, seeds, seeds), sizes)
def test_bounds(draws, size):
    u, *golds = (random_readout(seed, *size) for seed in draws)
    scores = values(score(u, golds))
    slack = 1e-9
    assert 0 <= scores["activation_distance"] <= math.sqrt(2) + slack
    assert scores["activation_distance_to_mean"] <= scores["activation_distance"] + slack
    assert 0 <= scores["js_divergence"] <= math.log(2) + slack
    assert abs(scores["delta_signed"]) <= scores["delta"] + slack <= 100 + 2 * slack
    assert scores["delta"] <= 100 * (1 - scores["label_accuracy"]) + slack
    assert 0 <= scores["margin_distance"] <= 2 * MARGIN_LIMIT
    assert abs(scores["margin_signed"]) <= scores["margin_distance"] + slack
    assert scores.get("margin_distance_fair", 0) <= scores["margin_distance"]
    assert scores.get("delta_fair", 0) <= scores["delta"] + slack
    beyond = {"delta", "delta_signed", "delta_fair", "label_gain"}
    beyond |= {"margin_distance", "margin_distance_fair", "margin_signed"}
    for name in scores.keys() - beyond:
        assert -slack <= scores[name] <= math.sqrt(2) + slack


@quick
@given(st.tuples(seeds, seeds, seeds), sizes, seeds)
def test_the_order_of_samples_and_golds_does_not_matter(draws, size, order):
    models = [random_readout(seed, *size) for seed in draws]
    rng = np.random.default_rng(order)
    forget, test = rng.permutation(size[0]), rng.permutation(size[1])
    easy = rng.random(size[0]) > 0.5
    shuffled = [
        replace(
            model,
            forget_logits_NK=model.forget_logits_NK[forget],
            forget_labels_N=model.forget_labels_N[forget],
            test_logits_MK=model.test_logits_MK[test],
            test_predictions_M=model.test_predictions_M[test],
            test_labels_M=model.test_labels_M[test],
        )
        for model in models
    ]
    before = score(models[0], models[1:], {"easy": easy})
    after = score(shuffled[0], shuffled[:0:-1], {"easy": easy[forget]})
    assert values(after) == pytest.approx(values(before))


@quick
@given(st.tuples(seeds, seeds, seeds), sizes)
def test_a_constant_guess_gains_nothing(draws, size):
    u, *golds = (random_readout(seed, *size) for seed in draws)
    right_NK = np.eye(size[2], dtype=np.float32)[u.forget_labels_N]
    scores = score(replace(u, forget_logits_NK=right_NK), golds)
    wrong = score(replace(u, forget_logits_NK=-right_NK), golds)
    assert scores["label_accuracy"] == scores["all_easy_rate"] == scores["gold_forget_accuracy"]
    easy = scores["all_easy_rate"].value
    assert wrong["label_accuracy"].value == pytest.approx(1 - easy)
    better, worse = (scores, wrong) if easy >= 0.5 else (wrong, scores)
    gain = better["label_gain"]
    # Exactly nothing; where it is over calling all hard, but for the rounding of 1 less a mean.
    slack = 0 if better is scores else 1e-12
    assert (gain.value, gain.stderr or 0) == pytest.approx((0, 0), abs=slack)
    assert worse["label_gain"].value == pytest.approx(-abs(1 - 2 * easy))
    chance = scores.get("label_balanced_accuracy")
    assert chance is None or chance.value == pytest.approx(0.5)


def test_scoring_needs_a_gold():
    with pytest.raises(AssertionError, match="at least one gold"):
        score(U, [])


@pytest.mark.parametrize(
    "change",
    [{"forget_labels_N": np.ones(4, np.int64)}, {"retain_total": 200}],
)
def test_readouts_of_different_cases_are_refused(change):
    with pytest.raises(ValueError, match="different cases"):
        score(U, [G1, replace(G2, **change)])


def test_reports_must_be_finite():
    with pytest.raises(ValueError, match="'easy_score' has values that are not finite"):
        score(U, [G1], {"easy_score": np.array([0, 1, np.nan, 2])})
