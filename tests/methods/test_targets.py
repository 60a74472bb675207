"""Methods that give D_f other targets - LoTUS, ReGUn, AMUN - against their equations."""

import copy
import math

import pytest
import torch
from mubench_methods.amun import AMUN
from mubench_methods.lotus import LoTUS
from mubench_methods.regun import ReGUn
from torch.nn import functional as F

from mubench import Batch
from tests.helpers.patterns import accuracy, weights
from tests.helpers.steps import assert_same_weights, stepped

ALL = {"forget", "retain", "holdout"}


def training_of(problem, method):
    """What the method hands to `fine_tune`, which then does nothing: (model, samples, options)."""
    calls = []
    problem.fine_tune = lambda model, samples, **options: calls.append((model, samples, options))
    method.unlearn(problem)
    (call,) = calls
    return call


def test_lotus_softens_forget_by_how_much_it_exceeds_unseen_images(make):
    problem = make(ALL)
    method = LoTUS(alpha=3.0, retain_share=0.1, forget_repeats=2)
    _, samples, options = training_of(problem, method)
    assert len(samples) == 2 * 20 + 30
    index = torch.tensor([0, 39, 40, 69])  # two of D_f, two of D_r
    batch = Batch(problem.normalise(samples[index].images), samples.labels[index], index)
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    found = options["loss"](logits, batch)

    teacher = problem.logits(problem.original, samples[index])
    uniform = torch.rand(4, 4, generator=problem.generator("gumbel"))
    drawn = teacher - (-uniform.log()).log()
    unseen = problem.holdout[problem.holdout.labels == 1]
    excess = accuracy(problem, problem.original, problem.forget) - accuracy(
        problem, problem.original, unseen
    )
    assert excess > 0
    target = F.one_hot(drawn.argmax(1), 4).float()
    target[:2] = (drawn[:2] / math.exp(3 * excess)).softmax(1)
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_lotus_ends_once_forget_scores_below_unseen_images(make):
    problem = make(ALL)
    student, _, options = training_of(problem, LoTUS())
    assert options["stop"]() is False
    with torch.no_grad():
        student.head.bias[1] -= 100  # nothing is of D_f's class any more
    assert options["stop"]() is True


def test_lotus_does_nothing_where_forget_scores_like_unseen_images_already(make):
    problem = make(ALL)
    with torch.no_grad():
        problem.original.head.bias[1] -= 100
    method = LoTUS(margin=0.0)
    before = weights(problem.original)
    assert torch.equal(weights(method.unlearn(problem)), before)


def test_regun_leads_forget_to_the_mean_answer_on_unseen_images_of_its_class(make):
    problem = make(ALL)
    method = ReGUn(forget_weight=0.3, temperature=2.0, batch_size=400)
    _, samples, options = training_of(problem, method)
    batch = Batch(problem.normalise(samples.images), samples.labels, torch.arange(20))
    model = problem.original
    logits = model(batch.images_NCHW)
    found = options["loss"](logits, batch)

    unseen = problem.holdout[problem.holdout.labels == 1]
    drawn = torch.randint(len(unseen), (20,), generator=problem.generator("reference"))
    q = (problem.logits(model, unseen)[drawn] / 2.0).softmax(1).mean(0)
    divergence = (q * (q.log() - (logits / 2.0).log_softmax(1))).sum(1).mean()
    retain = problem.retain  # one batch
    keep = F.cross_entropy(model(problem.normalise(retain.images)), retain.labels)
    torch.testing.assert_close(found, 0.3 * divergence + 0.7 * keep, rtol=1e-4, atol=1e-6)


def test_regun_matches_the_classes_of_a_batch(make):
    problem = make(ALL, torch.tensor([0, 1, 82, 83, 84]))
    _, samples, options = training_of(problem, ReGUn(forget_weight=1.0))
    logits = torch.zeros(5, 4)
    batch = Batch(problem.normalise(samples.images), samples.labels, torch.arange(5))
    found = options["loss"](logits, batch)
    generator = problem.generator("reference")
    answers = []
    for k, count in enumerate(samples.labels.bincount().tolist()):
        unseen = problem.holdout[problem.holdout.labels == k]
        drawn = torch.randint(len(unseen), (count,), generator=generator)
        answers.append(problem.logits(problem.original, unseen)[drawn].softmax(1))
    q = torch.cat(answers).mean(0)
    torch.testing.assert_close(found, (q * (q.log() + math.log(4))).sum(), rtol=1e-4, atol=1e-6)


def test_amuns_neighbours_are_the_nearest_that_flip_under_the_class_they_flip_to(make):
    problem = make({"forget", "retain"})
    method = AMUN(eps=50.0)
    found = method.neighbours(problem, problem.forget)
    assert 0 < len(found) <= 20
    assert torch.equal(problem.logits(problem.original, found).argmax(1), found.labels)
    assert (found.labels != 1).all()
    gaps = torch.cdist(found.images.flatten(1), problem.forget.images.float().flatten(1))
    lengths = gaps.amin(1)
    assert (lengths <= 50.0 * 2**6 + 1e-2).all()
    first = (lengths <= 50.0 + 1e-2).sum().item()  # those of the first eps come first
    assert (lengths[:first] <= 50.0 + 1e-2).all()


def test_amun_tunes_on_forget_its_neighbours_and_retain_in_one_loss(make):
    method = AMUN(
        epochs=1, retain_share=0.1, repeats=1, momentum=0.0, weight_decay=0.0, batch_size=400
    )
    twin = make({"forget", "retain"})
    start = copy.deepcopy(twin.original)
    samples = twin.forget + method.neighbours(twin, twin.forget) + twin.share(twin.retain, 0.1)

    def loss(model):
        return F.cross_entropy(model(twin.normalise(samples.images)), samples.labels)

    expected = stepped(start, loss, lr=0.01, train=True)
    assert_same_weights(method.unlearn(make({"forget", "retain"})), expected, start)


@pytest.mark.parametrize("decay", [1.0, 0.1])
def test_amuns_rate_decays_by_epoch(make, decay):
    problem, rates = make({"forget", "retain"}), []
    trainer = problem.trainer(problem.original, lr=1.0)
    trainer.epoch = lambda *_: rates.append(trainer.lr)
    problem.trainer = lambda *_, **__: trainer
    AMUN(epochs=3, decay=decay, doublings=0).unlearn(problem)
    assert rates == pytest.approx([1.0, decay, decay**2])
