"""TMU: its twin, its features, its classifier and its options."""

import math
from dataclasses import replace

import pytest
import torch
from mubench_methods import _tmu_classifier, _tmu_features, _tmu_twin
from mubench_methods._relabel import LAST_STEP
from mubench_methods.tmu import TMU
from torch import nn
from torch.nn import functional as F

from mubench.task.data import Samples
from tests.helpers.patterns import (
    ALL,
    CPU,
    HOLDOUT,
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
    sizes = {"like": "forget", "size": "eq3", "most": 5, "enough_rows": 500}
    (first, *others) = _tmu_twin.twin_sets(problem, problem.forget, **sizes)
    assert len(first) == expected
    assert len(others) == {1: 4, 100: 4}.get(num_forget, 0)
    assert problem.num_augmented == max(0, expected - 500)


def test_class_level_size():
    assert _tmu_twin.num_rows(Sized(100, 4900), Sized(100, 4900).forget, "class") == 102
    assert _tmu_twin.num_rows(Sized(4000, 1000), Sized(4000, 1000).forget, "class") == 20_000


def test_pooled_twins_share_no_sample():
    problem = Sized(40, 5000, num_holdout=250)
    sets = _tmu_twin.twin_sets(
        problem, problem.forget, like="forget", size="eq3", most=9, enough_rows=10_000
    )
    drawn = torch.cat([s.images.flatten() for s in sets])
    assert len(sets) == 250 // 40
    assert len(drawn.unique()) == len(drawn)


def test_twin_set_has_the_classes_of_forget_in_proportion(make):
    problem = make(ALL, torch.cat([torch.arange(0, 80, 4), torch.arange(1, 41, 4)]))  # 20 and 10
    sizes = {"size": "eq3", "most": 1, "enough_rows": 1}
    (like_forget,) = _tmu_twin.twin_sets(problem, problem.forget, like="forget", **sizes)
    assert like_forget.labels.bincount().tolist() == [22, 11]  # Eq. 3: 33
    (like_all,) = _tmu_twin.twin_sets(problem, problem.forget, like="all", **sizes)
    assert like_all.labels.bincount().tolist() == [8, 8, 8, 8]


def test_no_held_out_sample_of_the_class_is_an_error(make):
    problem = make(TMU.requires, holdout=HOLDOUT[HOLDOUT.labels != 1])
    with pytest.raises(ValueError, match="held-out samples of the classes"):
        TMU().unlearn(problem)


def test_the_twin_knows_its_forget_set_and_the_original_is_left_alone(make, trained):
    problem = make(TMU.requires)
    tmu = TMU(replay_share=0.3, twin_epochs=10)
    part = HOLDOUT[HOLDOUT.labels == 1][:20]
    twin = tmu.twin(problem, problem.forget + problem.retain, part)
    assert accuracy(problem, twin, part) > max(0.9, accuracy(problem, problem.original, part))
    assert torch.equal(weights(problem.original), weights(trained))


def test_neighbourhood_is_the_mean_distance_within_the_class(make, monkeypatch):
    query = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    bank = torch.tensor([[0.0, 3.0], [5.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    samples = Samples(torch.zeros(2, 3, 1, 1), torch.tensor([0, 1]))
    remaining = Samples(torch.zeros(4, 3, 1, 1), torch.tensor([0, 0, 0, 1]))
    problem = make(ALL)
    monkeypatch.setattr(problem, "features", lambda _, s: query if s is samples else bank)
    nf = {"neighbours": 2, "unit_length": True}
    value = _tmu_features.neighbourhood(problem, None, samples, remaining, **nf)
    second = math.sqrt(2 - math.sqrt(2))  # 45 degrees apart; the nearest is parallel
    assert value.tolist() == pytest.approx([second / 2, math.sqrt(2)], abs=1e-6)
    nf["unit_length"] = False
    value = _tmu_features.neighbourhood(problem, None, samples, remaining, **nf)
    assert value.tolist() == pytest.approx([(1 + math.sqrt(10)) / 2, math.sqrt(5)], abs=1e-6)


def test_neighbourhood_by_brute_force(make):
    problem = make(ALL)
    model = problem.original
    value = _tmu_features.neighbourhood(
        problem, model, problem.forget, problem.retain, neighbours=5, unit_length=True
    )
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
    attacked = _tmu_features.attack(problem, model, samples, eps=2.0, steps=1, step_size=2.0)
    # the loss of class 0 rises along w_1 - w_0, whatever the image
    away = (model.weight[1] - model.weight[0]).detach().sign().view(3, SIZE, SIZE)
    for label, moved in zip(samples.labels.tolist(), attacked, strict=True):
        assert torch.equal(moved, 128 + 2 * (away if label == 0 else -away))
    value = _tmu_features.adversarial(problem, model, samples, eps=8.0, steps=4, variant="pgd")
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
        attacked = _tmu_features.attack(
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
        _tmu_features.adversarial(
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
    TMU(curriculum=variant).young_network(problem, problem.forget, [HOLDOUT[:20], HOLDOUT[20:40]])
    assert seen == {"n": size, "e": 2}


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


@pytest.mark.parametrize("hard_share", [0.0, 0.15, 0.4, 1.0])
def test_prior_matched_threshold_marks_the_hardest(hard_share):
    score = torch.rand(200, generator=torch.Generator().manual_seed(0))
    easy = torch.arange(1000) >= 1000 * hard_share
    is_hard = _tmu_classifier.prior_matched(score, easy)
    assert is_hard.sum() == round(hard_share * 200)
    if 0 < hard_share < 1:
        assert score[is_hard].max() <= score[~is_hard].min()


def test_tmu_marks_the_share_of_hard_twin_samples_and_reports(make, monkeypatch):
    problem = make(TMU.requires)
    answers = []
    matched = _tmu_classifier.prior_matched
    monkeypatch.setattr(
        "mubench_methods.tmu.prior_matched",
        lambda score, easy: answers.append(easy) or matched(score, easy),
    )
    QUICK_TMU.unlearn(problem)
    (easy,) = answers
    is_hard = ~problem.reports["easy"]
    assert len(easy) == 21  # Eq. 3: 20 * 320 / 300; the holdout has 40, not enough for two
    assert is_hard.sum() == round((1 - easy.float().mean().item()) * 20) > 0
    assert (
        problem.reports["easy_score"][is_hard].max()
        <= problem.reports["easy_score"][~is_hard].min()
    )


@pytest.mark.parametrize("threshold", [0.5, 0.622])
def test_fixed_threshold(make, threshold):
    problem = make(TMU.requires)
    replace(QUICK_TMU, threshold=threshold).unlearn(problem)
    expected = problem.reports["easy_score"] >= threshold
    assert problem.reports["easy"].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"twin_classes": "all"},
        {"twin_size": "class"},
        {"twin_size": "all"},
        {"attack": "code"},
        {"curriculum": "paper"},
        {"curriculum": "code"},
        {"scale": "twin"},
        {"classifier": "logistic"},
        {"unit_length": False},
        {"start": "twin"},
        {"last_step": replace(LAST_STEP, mechanism="neggrad")},
    ],
    ids=str,
)
def test_every_option_of_tmu_runs(make, options):
    unlearned = replace(QUICK_TMU, **options).unlearn(make(TMU.requires))
    assert weights(unlearned).isfinite().all()
