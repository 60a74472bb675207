"""The built-in methods on a problem of four noisy patterns that is learned in a second."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from mubench_methods import _relabel, _tmu_classifier, _tmu_features, _tmu_twin
from mubench_methods._relabel import LAST_STEP
from mubench_methods.bad_teacher import BadTeacher
from mubench_methods.finetune import FineTune
from mubench_methods.neggrad import NegGrad
from mubench_methods.oracle import Oracle
from mubench_methods.original import Original
from mubench_methods.random_label import RandomLabel
from mubench_methods.random_quota import RandomQuota
from mubench_methods.retrain import Retrain
from mubench_methods.tmu import TMU
from torch import nn
from torch.nn import functional as F

from mubench.method.problem import AccessError, Meter, Problem
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, ModelSpec, TrainSpec
from mubench.training import networks
from mubench.training.loop import Pipeline, fit

CLASSES, SIZE, PER_CLASS = 4, 8, 80
CPU = torch.device("cpu")
DATA = DataSpec(name="noisy", kind="folder", image_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
RECIPE = TrainSpec(
    epochs=10, batch_size=32, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="one-cycle"
)
PIPELINE = Pipeline(DATA, RECIPE, CPU)

QUICK_TMU = TMU(replay_share=0.2, twin_pool=2, twin_epochs=2)
METHODS = [
    Original(),
    Retrain(),
    FineTune(),
    NegGrad(),
    RandomLabel(),
    BadTeacher(),
    QUICK_TMU,
    RandomQuota(),
    Oracle(),
]


def build(seed: int) -> nn.Module:
    spec = ModelSpec(name="allcnn", width=8)
    return networks.build(spec, num_classes=CLASSES, channels=3, image_size=SIZE, seed=seed)


def draw(per_class: int, seed: int) -> Samples:
    """A pattern of each class under so much noise that about a fifth cannot be told."""
    pattern = torch.rand(CLASSES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(per_class)
    noise = torch.randn(len(labels), 3, SIZE, SIZE, generator=generator)
    images = 128 + 40 * (pattern[labels] - 0.5) + 40 * noise
    return Samples(images.clamp(0, 255).to(torch.uint8), labels)


TRAIN, HOLDOUT, TEST = draw(PER_CLASS, 1), draw(40, 2), draw(100, 3)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = build(0)
    fit(model, TRAIN, RECIPE, PIPELINE, seed=0)
    return model


@pytest.fixture
def make(trained):
    """Makes a problem: D_f is `forget`, positions in TRAIN; by default 20 of class 1."""

    def make_problem(requires, forget=None, seed=0, **access) -> Problem:
        if forget is None:
            forget = torch.arange(len(TRAIN))[TRAIN.labels == 1][:20]
        kept = torch.ones(len(TRAIN), dtype=torch.bool)
        kept[forget] = False
        sets = {"forget": TRAIN[forget], "retain": TRAIN[kept], "holdout": HOLDOUT} | access
        sets.setdefault("gold_labels", torch.arange(len(forget)) % 4 != 0)
        meter = Meter()
        problem = Problem(
            original=copy.deepcopy(trained),
            fresh=build,
            access=sets,
            requires=frozenset(requires),
            num_classes=CLASSES,
            recipe=RECIPE,
            pipeline=PIPELINE,
            seed=seed,
            meter=meter,
        )
        problem.meter = meter
        return problem

    return make_problem


ALL = {"forget", "retain", "holdout", "gold_labels"}


def accuracy(problem: Problem, model: nn.Module, samples: Samples) -> float:
    return problem.correct(model, samples).float().mean().item()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in [*model.parameters(), *model.buffers()]])


# ---- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_runs_within_its_access_and_returns_the_architecture(make, method):
    problem = make(method.requires)
    unlearned = method.unlearn(problem)
    expected = build(0).state_dict()
    returned = unlearned.state_dict()
    assert {k: v.shape for k, v in returned.items()} == {k: v.shape for k, v in expected.items()}
    assert weights(unlearned).isfinite().all()
    assert not unlearned.training
    assert accuracy(problem, unlearned, TEST) > 0.55  # chance is 0.25


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_same_seed_same_bits(make, method):
    first, second = (weights(method.unlearn(make(method.requires))) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", METHODS[3:], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("kind", ["one sample", "whole class", "random"])
def test_every_kind_of_forget_set(make, method, kind):
    forget = {
        "one sample": torch.tensor([7]),
        "whole class": (TRAIN.labels == 2).nonzero().squeeze(1),
        "random": torch.arange(0, len(TRAIN), 9),
    }[kind]
    unlearned = method.unlearn(make(method.requires, forget))
    assert weights(unlearned).isfinite().all()


def test_seeds_differ(make):
    first, second = (weights(FineTune().unlearn(make({"retain"}, seed=s))) for s in (0, 1))
    assert not torch.equal(first, second)


# ---- the plain ones -----------------------------------------------------------------------------


def test_original_is_untouched(make, trained):
    assert torch.equal(weights(Original().unlearn(make({"forget"}))), weights(trained))


@pytest.mark.parametrize("method", [FineTune(), Retrain()])
def test_never_reads_forget(make, method):
    problem = make(method.requires)
    method.unlearn(problem)
    with pytest.raises(AccessError, match="forget"):
        _ = problem.forget


def test_retrain_starts_anew_and_learns_retain(make, trained):
    problem = make({"forget", "retain"})
    gold = Retrain().unlearn(problem)
    assert accuracy(problem, gold, problem.retain) > 0.9
    assert accuracy(problem, gold, problem.forget) < 0.9  # of a pattern nobody can tell for sure
    kernel, others = gold.body[1][0].weight, trained.body[1][0].weight
    assert F.cosine_similarity(kernel.flatten(), others.flatten(), dim=0) < 0.5


def test_finetune_keeps_what_it_does_not_see(make):
    problem = make({"forget", "retain"})
    unlearned = FineTune().unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) > 0.8
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_neggrad_lowers_forget_accuracy_until_it_stops(make):
    problem = make({"forget", "retain"})
    unlearned = NegGrad(epochs=10, lr=0.05, forget_weight=3).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) <= 0.1
    assert accuracy(problem, unlearned, problem.retain) > 0.6
    assert problem.meter.backward_samples < 10 * len(TRAIN)


def test_neggrad_climbs_no_further_than_the_clip(make):
    problem = make({"forget", "retain"})
    ceiling = 2 * math.log(CLASSES)
    unlearned = NegGrad(epochs=10, lr=0.05, stop_accuracy=0).unlearn(problem)
    loss = F.cross_entropy(problem.logits(unlearned, problem.forget), problem.forget.labels)
    assert loss < 4 * ceiling


def test_random_label_lowers_forget_accuracy(make):
    problem = make({"forget", "retain"})
    unlearned = RandomLabel(epochs=10).unlearn(problem)
    assert accuracy(problem, unlearned, problem.forget) < 0.4
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_bad_teacher_makes_forget_unsure_and_keeps_retain(make):
    problem = make({"forget", "retain"})
    before = problem.logits(problem.original, problem.forget).softmax(1).amax(1).mean()
    student = BadTeacher(epochs=10, lr=1e-3, batch_size=32).unlearn(problem)
    after = problem.logits(student, problem.forget).softmax(1).amax(1).mean()
    assert after < before - 0.2
    assert accuracy(problem, student, problem.retain) > 0.85


def test_bad_teacher_teaches_nothing_new_on_retain(make):
    """With nothing of D_f in reach of the loss the student would stay: its target is its start."""
    problem = make({"forget", "retain"}, torch.tensor([0]))
    start = problem.logits(problem.original, problem.retain).softmax(1)
    student = BadTeacher().unlearn(problem)
    moved = (problem.logits(student, problem.retain).softmax(1) - start).abs().mean()
    assert moved < 0.05


# ---- the last step ------------------------------------------------------------------------------


def test_wrong_labels_are_never_the_truth_and_uniform(make):
    problem = make({"forget"})
    truth = torch.arange(CLASSES).repeat(3000)
    wrong = problem.wrong_labels(truth)
    assert not (wrong == truth).any()
    counts = ((wrong - truth) % CLASSES).bincount(minlength=CLASSES)[1:]
    assert counts.float().div(len(truth)).sub(1 / (CLASSES - 1)).abs().max() < 0.02


@pytest.mark.parametrize("mechanism", ["relabel", "neggrad"])
def test_last_step_follows_the_marks(make, mechanism):
    problem = make(ALL)
    is_hard = torch.arange(20) % 4 == 0
    step = replace(LAST_STEP, mechanism=mechanism, retain_share=1.0, epochs=4, visits=40)
    unlearned = step.apply(problem, problem.original, is_hard)
    right = problem.correct(unlearned, problem.forget)
    assert right[~is_hard].float().mean() > 0.85
    assert right[is_hard].float().mean() < 0.25
    assert accuracy(problem, unlearned, problem.retain) > 0.9


def test_last_step_with_nothing_hard_changes_nothing(make, trained):
    problem = make(ALL)
    unlearned = LAST_STEP.apply(problem, problem.original, torch.zeros(20, dtype=torch.bool))
    assert torch.equal(weights(unlearned), weights(trained))
    assert problem.meter.forward_samples == 0


def test_controls_and_tmu_share_the_last_step():
    assert TMU().last_step == RandomQuota().last_step == Oracle().last_step == LAST_STEP


def test_oracle_follows_the_golds(make):
    labels = torch.arange(20) % 5 != 0
    problem = make(Oracle.requires, gold_labels=labels)
    step = replace(LAST_STEP, epochs=4, visits=40)
    unlearned = Oracle(last_step=step).unlearn(problem)
    assert problem.reports["easy"].tolist() == labels.tolist()
    agreement = problem.correct(unlearned, problem.forget).eq(labels).float().mean()
    assert agreement > 0.85


# ---- random quota -------------------------------------------------------------------------------


def test_random_quota_marks_what_holdout_accuracy_says(make):
    forget = torch.arange(0, len(TRAIN), 2)  # classes 0 and 2, 80 of each: whole classes
    forget = forget[: len(forget) // 2]  # 40 of each
    problem = make(RandomQuota.requires, forget)
    correct = problem.correct(problem.original, HOLDOUT)
    RandomQuota().unlearn(problem)
    is_hard = ~torch.from_numpy(problem.reports["easy"])
    for label in (0, 2):
        held_out_accuracy = correct[HOLDOUT.labels == label].float().mean().item()
        marked = is_hard[problem.forget.labels == label].sum().item()
        assert marked == round((1 - held_out_accuracy) * 40)
    assert 0 < is_hard.sum() < 80


def test_random_quota_does_not_look_at_the_samples(make):
    """Other images in the same places get the same marks."""
    noise = Samples(torch.randint_like(TRAIN.images[:20], 256), TRAIN.labels[1].repeat(20))
    first, second = make(RandomQuota.requires), make(RandomQuota.requires, forget=None)
    second._access["forget"] = noise
    for problem in (first, second):
        RandomQuota().unlearn(problem)
    assert first.reports["easy"].tolist() == second.reports["easy"].tolist()


@pytest.mark.parametrize("method", [RandomQuota(), QUICK_TMU])
def test_a_class_without_retain_data_is_hard(make, method):
    problem = make(method.requires, (TRAIN.labels == 2).nonzero().squeeze(1))
    unlearned = method.unlearn(problem)
    assert not problem.reports["easy"].any()
    assert accuracy(problem, unlearned, problem.forget) < 0.4


# ---- TMU: the twin ------------------------------------------------------------------------------


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


# ---- TMU: the features --------------------------------------------------------------------------


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


# ---- TMU: the classifier ------------------------------------------------------------------------


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


def test_is_gone(make):
    problem = make(ALL, torch.cat([(TRAIN.labels == 2).nonzero().squeeze(1), torch.tensor([0])]))
    assert _relabel.is_gone(problem).tolist() == [True] * PER_CLASS + [False]
