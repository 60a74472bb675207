"""TMU: what its marks are made of, its targets and its options."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from mubench_methods import _quota, _tmu_attack, _tmu_classifier, _tmu_features, _tmu_twin
from mubench_methods._last_step import LAST_STEP
from mubench_methods._restart import Restart
from mubench_methods._targets import target_table
from mubench_methods._tmu_features import LOOKS
from mubench_methods._tmu_twin import TWIN, Twin
from mubench_methods.tmu import TMU
from scipy.special import softmax
from torch import nn
from torch.nn import functional as F

from mubench.task.data import Samples
from tests.helpers.patterns import (
    ALL,
    CLASSES,
    CPU,
    HOLDOUT,
    LEARNED_TMU,
    PIPELINE,
    QUICK_TMU,
    SIZE,
    TRAIN,
    accuracy,
    weights,
)


class Sized:
    """A problem with sets of given sizes and nothing else."""

    num_classes = 2
    device = CPU

    def __init__(self, num_forget: int, num_retain: int, num_holdout: int = 500):
        def of(n: int) -> Samples:
            labels = torch.zeros(n, dtype=torch.int64)
            return Samples(torch.arange(n).view(n, 1, 1, 1).to(torch.uint8), labels)

        self.forget, self.retain, self.holdout = of(num_forget), of(num_retain), of(num_holdout)
        self.num_augmented = 0

    def subset(self, samples: Samples, count: int) -> Samples:
        return samples[torch.randperm(len(samples))[:count]]

    def augment(self, images: torch.Tensor) -> torch.Tensor:
        self.num_augmented += len(images)
        return images


@pytest.mark.parametrize(
    ("num_forget", "expected"), [(1, 1), (100, 100), (500, 505), (1000, 1020), (4000, 4348)]
)
def test_eq_3_sizes(num_forget, expected):
    problem = Sized(num_forget, 50_000 - num_forget)
    assert _tmu_twin.num_rows(problem, problem.forget, "eq3") == expected
    (first, *others) = TWIN.sets(problem, problem.forget)
    assert len(first) == expected
    assert len(others) == {1: 4, 100: 4}.get(num_forget, 0)
    assert problem.num_augmented == max(0, expected - 500)


def test_class_level_size():
    assert _tmu_twin.num_rows(Sized(100, 4900), Sized(100, 4900).forget, "class") == 102
    assert _tmu_twin.num_rows(Sized(4000, 1000), Sized(4000, 1000).forget, "class") == 20_000


def test_pooled_twins_share_no_sample():
    problem = Sized(40, 5000, num_holdout=250)
    sets = Twin(pool=9, rows=10_000).sets(problem, problem.forget)
    drawn = torch.cat([s.images.flatten() for s in sets])
    assert len(sets) == 250 // 40
    assert len(drawn.unique()) == len(drawn)


def test_twin_set_has_the_classes_of_forget_in_proportion(make):
    problem = make(ALL, torch.cat([torch.arange(0, 80, 4), torch.arange(1, 41, 4)]))  # 20 and 10
    (like_forget,) = Twin(pool=1).sets(problem, problem.forget)
    assert like_forget.labels.bincount().tolist() == [22, 11]  # Eq. 3: 33
    (like_all,) = Twin(classes="all", pool=1).sets(problem, problem.forget)
    assert like_all.labels.bincount().tolist() == [8, 8, 8, 8]


def test_no_held_out_sample_of_the_class_is_an_error(make):
    problem = make(TMU.requires, holdout=HOLDOUT[HOLDOUT.labels != 1])
    with pytest.raises(ValueError, match="held-out samples of the classes"):
        LEARNED_TMU.unlearn(problem)


def test_the_twin_knows_its_forget_set_and_the_original_is_left_alone(make, trained):
    problem = make(TMU.requires)
    part = HOLDOUT[HOLDOUT.labels == 1][:20]
    everything = problem.forget + problem.retain
    twin = Twin(replay_share=0.3, epochs=10).model(problem, everything, part)
    assert accuracy(problem, twin, part) > max(0.9, accuracy(problem, problem.original, part))
    assert torch.equal(weights(problem.original), weights(trained))


def test_neighbourhood_is_the_mean_distance_within_the_class(make, monkeypatch):
    query = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    bank = torch.tensor([[0.0, 3.0], [5.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    samples = Samples(torch.zeros(2, 3, 1, 1), torch.tensor([0, 1]))
    remaining = Samples(torch.zeros(4, 3, 1, 1), torch.tensor([0, 0, 0, 1]))
    problem = make(ALL)
    monkeypatch.setattr(problem, "features", lambda _, s: query if s is samples else bank)
    looks = replace(LOOKS, neighbours=2)
    value = looks.neighbourhood(problem, None, samples, remaining)
    second = math.sqrt(2 - math.sqrt(2))  # 45 degrees apart; the nearest is parallel
    assert value.tolist() == pytest.approx([second / 2, math.sqrt(2)], abs=1e-6)
    looks = replace(looks, unit_length=False)
    value = looks.neighbourhood(problem, None, samples, remaining)
    assert value.tolist() == pytest.approx([(1 + math.sqrt(10)) / 2, math.sqrt(5)], abs=1e-6)


def test_neighbourhood_by_brute_force(make):
    problem = make(ALL)
    model = problem.original
    value = LOOKS.neighbourhood(problem, model, problem.forget, problem.retain)
    bank = problem.retain[problem.retain.labels == 1]
    query, bank = (F.normalize(problem.features(model, s)) for s in (problem.forget, bank))
    distances = (query[:, None] - bank[None]).norm(dim=2).sort(dim=1).values
    torch.testing.assert_close(value, distances[:, :5].mean(1), rtol=1e-5, atol=1e-6)


class Linear(nn.Module):
    """f(x) = W x on flattened pixels."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(2, 3 * SIZE * SIZE, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight.T


def test_one_step_of_the_attack_has_a_closed_form_on_a_linear_model(make):
    problem, model = make(ALL), Linear()
    images = torch.full((4, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    samples = Samples(images, torch.tensor([0, 1, 0, 1]))
    attacked = _tmu_attack.attack(problem, model, samples, eps=2.0, steps=1, step_size=2.0)
    # the loss of class 0 rises along w_1 - w_0, whatever the image
    away = (model.weight[1] - model.weight[0]).detach().sign().view(3, SIZE, SIZE)
    for label, moved in zip(samples.labels.tolist(), attacked, strict=True):
        assert torch.equal(moved, 128 + 2 * (away if label == 0 else -away))
    value = _tmu_attack.adversarial(problem, model, samples, eps=8.0, steps=4, variant="pgd")
    # four steps of a quarter reach the corner of the ball
    corner = torch.stack([128 + 8 * (away if y == 0 else -away) for y in (0, 1, 0, 1)])
    with torch.no_grad():
        clean, moved = (model(PIPELINE.normalise(x)) for x in (images, corner))
    expected = -(clean.softmax(1) * moved.log_softmax(1)).sum(1)
    torch.testing.assert_close(value, expected.log1p())


def test_attack_stays_in_its_ball_and_in_range(make):
    problem = make(ALL)
    extreme = Samples((TRAIN.images[:40] > 128).to(torch.uint8) * 255, TRAIN.labels[:40])
    for samples in (TRAIN[:40], extreme):
        before = F.cross_entropy(problem.logits(problem.original, samples), samples.labels)
        attacked = _tmu_attack.attack(
            problem, problem.original, samples, eps=3.0, steps=10, step_size=0.75
        )
        assert (attacked - samples.images).abs().max() <= 3
        assert attacked.min() >= 0
        assert attacked.max() <= 255
        after = F.cross_entropy(problem.original(problem.normalise(attacked)), samples.labels)
        assert after > before


def test_attack_leaves_no_trace_in_the_model(make, trained):
    problem = make(ALL)
    for variant in ("pgd", "code"):
        _tmu_attack.adversarial(
            problem, problem.original, TRAIN[:40], eps=1.0, steps=2, variant=variant
        )
    assert torch.equal(weights(problem.original), weights(trained))
    assert all(p.grad is None for p in problem.original.parameters())


def test_curriculum_is_the_loss_of_the_young_network(make):
    problem = make(ALL)
    value = _tmu_features.curriculum(problem, problem.original, TRAIN[:30])
    log_p = problem.logits(problem.original, TRAIN[:30]).log_softmax(1)
    expected = (1 - log_p[torch.arange(30), TRAIN.labels[:30]]).log()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("variant", "size"), [("members", 90 + 20 + 40), ("paper", 96 + 40), ("code", 320)]
)
def test_curriculum_network_sees_the_sets_of_its_variant(make, monkeypatch, variant, size):
    problem = make(TMU.requires)
    seen = {}
    monkeypatch.setattr(
        problem,
        "train_like_original",
        lambda _, samples, epochs: seen.update(n=len(samples), e=epochs),
    )
    looks = replace(LOOKS, curriculum=variant)
    looks.young(problem, problem.forget, [HOLDOUT[:20], HOLDOUT[20:40]])
    assert seen == {"n": size, "e": 2}
    looks.stranger(problem, None)  # neither of the two sets
    assert seen == {"n": 90, "e": 2}


def test_robust_scale_clips_then_standardises():
    value = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [1000.0]])
    scaled = _tmu_classifier.robust_scale(value, value)
    clipped = value.clamp(max=3.75 + 1.5 * 2.5)
    expected = (clipped - clipped.mean()) / clipped.std(correction=0)
    torch.testing.assert_close(scaled, expected)
    same = _tmu_classifier.robust_scale(torch.full((3, 1), 7.0), torch.full((3, 1), 7.0))
    assert same.abs().max() == 0


@pytest.mark.parametrize("kind", ["mlp", "logistic"])
def test_classifier_learns_which_are_easy(make, kind):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 3, generator=generator)
    easy = features.sum(1) < 1
    score = _tmu_classifier.classify(make(ALL), kind, features[:300], easy[:300], features[300:])
    assert (score > 0.5).eq(easy[300:]).float().mean() > 0.9
    assert score.min() >= 0
    assert score.max() <= 1


def test_rank_sum_needs_no_scale_and_no_twin():
    features = torch.tensor([[1.0, 900.0], [2.0, 100.0], [9.0, 1000.0], [0.0, 0.0]])
    score = _tmu_classifier.rank_sum(features)
    assert score.tolist() == [1 - 1.5 / 4, 1 - 1.5 / 4, 1 - 3 / 4, 1.0]


@pytest.mark.parametrize("count", [0, 6, 31, 200])
def test_as_many_are_marked_as_the_quota_says_the_hardest(count):
    score = torch.rand(200, generator=torch.Generator().manual_seed(0))
    is_hard = _quota.hardest(score, count)
    assert is_hard.sum() == count
    if 0 < count < 200:
        assert score[is_hard].max() <= score[~is_hard].min()


@pytest.mark.parametrize("kappa", [0.0, 1.0, 2.0])
def test_the_quota_knows_the_deficit(make, kappa):
    """Against a computation in plain numpy."""
    forget = torch.cat([(TRAIN.labels == 1).nonzero().squeeze(1)[:72], torch.arange(0, 24, 4)])
    problem = make(ALL, forget)
    guess = _quota.GoldGuess.of(problem, kappa)
    logits = problem.logits(problem.original, HOLDOUT).double().numpy()
    labels = HOLDOUT.labels.numpy()
    in_class = np.arange(len(labels)), labels
    temperatures = np.exp(np.linspace(-3, 3, 3001))
    losses = [-np.log(softmax(logits / t, axis=1)[in_class]).mean() for t in temperatures]
    if kappa:
        assert guess.temperature == pytest.approx(temperatures[np.argmin(losses)], rel=0.01)
    whole, left = np.bincount(TRAIN.labels), np.bincount(problem.retain.labels)
    shift = np.log((whole / whole.sum()) / (left / left.sum()))
    shifted = logits / guess.temperature - kappa * shift
    right = shifted.argmax(1) == labels
    expected = [right[labels == label].mean() for label in range(CLASSES)]
    np.testing.assert_allclose(guess.accuracy_K.numpy(), expected, rtol=1e-6)
    assert torch.equal(guess.correct(problem, HOLDOUT), torch.from_numpy(right))


def test_a_deficit_lowers_what_is_expected_of_its_class(make):
    problem = make(ALL, (TRAIN.labels == 1).nonzero().squeeze(1)[:72])
    expected = [_quota.GoldGuess.of(problem, kappa).accuracy_K[1] for kappa in (0.0, 1.0, 3.0)]
    assert expected[0] > expected[1] > expected[2]


def test_nothing_is_expected_of_a_class_that_is_gone(make):
    problem = make(ALL, (TRAIN.labels == 2).nonzero().squeeze(1))
    accuracy_K = _quota.GoldGuess.of(problem, 2.0).accuracy_K
    assert accuracy_K[2] == 0
    assert accuracy_K[[0, 1, 3]].min() > 0.5


def test_a_class_that_the_holdout_lacks_is_as_all_others(make):
    problem = make(ALL, holdout=HOLDOUT[HOLDOUT.labels != 1])
    correct = problem.correct(problem.original, problem.holdout)
    assert _quota.GoldGuess.of(problem).accuracy_K[1] == correct.float().mean()


def test_targets():
    p = torch.tensor(
        [[0.5, 0.4, 0.1], [0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.3, 0.6, 0.1], [0.9, 0.1, 0.0]]
    )
    labels, hard = torch.zeros(5, dtype=torch.int64), torch.tensor([True, True, True, False, False])
    wrong = torch.full((5,), 2)

    def table(kind):
        made = target_table(kind, (p + 1e-30).log(), labels, hard, wrong, weight=0.6)
        torch.testing.assert_close(made.sum(1), torch.ones(5))
        return made

    one = torch.eye(3)
    assert torch.equal(table("uniform"), one[[2, 2, 2, 0, 0]])
    assert torch.equal(table("ascent"), one[[0] * 5])
    second = 0.6 * one[1] + 0.4 * one[0]
    expected = torch.stack([second, second, second, one[0], one[0]])
    torch.testing.assert_close(table("runner-up"), expected)
    # places changed, at least .6 of the pair to the winner; the rest as the model has it
    soft = [[0.36, 0.54, 0.1], [0.15, 0.8, 0.05], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.9, 0.1, 0]]
    torch.testing.assert_close(table("soft"), torch.tensor(soft))
    # just over the line, however sure the model was
    nudge = [*soft[:1], [0.38, 0.57, 0.05], soft[2], [0.54, 0.36, 0.1], *soft[4:]]
    torch.testing.assert_close(table("nudge"), torch.tensor(nudge))


def test_restart_is_the_recipe_s_schedule_after_an_erasure(make, monkeypatch, trained):
    problem, given = make({"forget", "retain"}), []
    monkeypatch.setattr(problem, "train_like_original", lambda *a, **k: given.append((a, k)))
    erased = Restart().erased(problem)
    assert accuracy(problem, erased, problem.forget) < 0.31
    start, logits = Restart(peak=2.0).begin(problem)
    (((model, samples), options),) = given
    assert model is start
    assert samples is problem.retain
    assert options == {"epochs": 2, "peak": 2.0}  # a fifth of ten
    assert torch.equal(logits, problem.logits(start, problem.forget))
    assert torch.equal(weights(problem.original), weights(trained))


def test_restart_off_leaves_the_original(make):
    problem = make({"forget", "retain"})
    start, logits = Restart(erase=False, epochs=0).begin(problem)
    assert start is problem.original
    assert torch.equal(logits, problem.logits(problem.original, problem.forget))
    assert problem.meter.seen.backward == 0
    erased, logits = Restart(epochs=0).begin(problem)  # what is spoiled tells nothing of samples
    assert erased is not problem.original
    assert torch.equal(logits, problem.logits(problem.original, problem.forget))


@pytest.mark.parametrize("tmu", [QUICK_TMU, LEARNED_TMU], ids=["default", "learned"])
def test_tmu_marks_the_quota_and_reports(make, tmu):
    problem = make(TMU.requires)
    tmu.unlearn(problem)
    assert list(problem.parts) == ["erase and restart", "marks", "last step"]
    seen = problem.meter.seen
    assert sum(problem.parts.values()) == seen.forward + 2 * seen.backward
    is_hard = ~problem.reports["easy"]
    if tmu.quota == "deficit":
        expected = 1 - _quota.GoldGuess.of(problem, 2.0).accuracy_K[1].item()
    else:  # Eq. 3: 20 * 320 / 300; the holdout has 40, not enough for two
        (part,) = tmu.twin.sets(make(TMU.requires), problem.forget)
        assert len(part) == 21
        fresh = make(TMU.requires)
        expected = 1 - accuracy(fresh, fresh.original, part)
    assert is_hard.sum() == round(20 * expected) > 0
    score = problem.reports["easy_score"]
    assert score[is_hard].max() <= score[~is_hard].min()


def test_tmu_s_default_makes_no_twin(make, monkeypatch):
    monkeypatch.setattr(Twin, "sets", None)
    QUICK_TMU.unlearn(make(TMU.requires))


def test_restarted_model_is_the_stranger(make, monkeypatch):
    trained = []
    monkeypatch.setattr(type(LOOKS), "_trained", lambda *a: trained.append(a))
    QUICK_TMU.unlearn(make(TMU.requires))
    assert not trained


@pytest.mark.parametrize("threshold", [0.5, 0.622])
def test_fixed_threshold(make, threshold):
    problem = make(TMU.requires)
    replace(LEARNED_TMU, quota="threshold", threshold=threshold).unlearn(problem)
    expected = problem.reports["easy_score"] >= threshold
    assert problem.reports["easy"].tolist() == expected.tolist()


def test_a_rank_sum_has_no_threshold():
    with pytest.raises(ValueError, match="needs a classifier"):
        TMU(quota="threshold")


@pytest.mark.parametrize(
    "options",
    [
        {"twin": Twin(classes="all", pool=1)},
        {"twin": Twin(size="class", pool=1)},
        {"twin": Twin(size="all")},
        {"looks": replace(LOOKS, attack="code", curriculum="paper")},
        {"looks": replace(LOOKS, curriculum="code", unit_length=False)},
        {"scale": "twin", "quota": "held-out"},
        {"classifier": "logistic", "features": ("margin", "stranger", "nf"), "quota": "deficit"},
        {"classifier": "rank-sum"},
        {"restart": Restart(epochs=1), "features": ("stranger",)},
        {"last_step": replace(LAST_STEP, targets="ascent")},
    ],
    ids=str,
)
def test_every_option_of_tmu_runs(make, options):
    unlearned = replace(LEARNED_TMU, **options).unlearn(make(TMU.requires))
    assert weights(unlearned).isfinite().all()
