"""Methods that choose weights - SSD, SalUn, l1-sparse, CF-k, EU-k - against their equations."""

import copy

import pytest
import torch
from mubench_methods.cf_k import CFk
from mubench_methods.eu_k import EUk
from mubench_methods.l1_sparse import L1Sparse
from mubench_methods.salun import SalUn
from mubench_methods.ssd import SSD
from torch.nn import functional as F

from tests.helpers.patterns import accuracy
from tests.helpers.steps import assert_same_weights, stepped

BOTH = {"forget", "retain"}


def mean_loss(model, batch):
    return F.cross_entropy(model(batch.images_NCHW), batch.labels_N)


def test_ssd_dampens_what_matters_to_forget_out_of_proportion(make):
    twin = make(BOTH)
    model = twin.original

    def importances(samples):
        squares = [
            torch.autograd.grad(mean_loss(model, batch), list(model.parameters()))
            for batch in twin.batches(samples, batch_size=20)  # |D_f|
        ]
        return [torch.stack(x).square().mean(0) for x in zip(*squares, strict=True)]

    of_forget, of_all = importances(twin.forget), importances(twin.forget + twin.retain)
    unlearned = SSD(alpha=2.0, lam=0.5).unlearn(make(BOTH))
    dampened = 0
    for weight, before, f, d in zip(
        unlearned.parameters(), model.parameters(), of_forget, of_all, strict=True
    ):
        expected = torch.where(f > 2.0 * d, before * (0.5 * d / f).clamp(max=1), before)
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-7)
        dampened += weight.ne(before).sum().item()
    assert 0 < dampened < sum(weight.numel() for weight in model.parameters())


def test_ssd_counts_one_pass_over_forget_and_one_over_all(make):
    problem = make(BOTH)
    SSD().unlearn(problem)
    assert (problem.meter.seen.forward, problem.meter.seen.backward) == (340, 340)


def test_salun_relabels_under_the_mask_of_the_largest_gradients(make):
    method = SalUn(
        epochs=1,
        retain_share=0.1,
        lr=0.01,
        momentum=0.0,
        weight_decay=0.0,
        salient_share=0.3,
        freeze_batch_norm=True,
    )
    twin = make(BOTH)
    start, forget = twin.original, twin.forget
    retain = twin.share(twin.retain, 0.1)
    labels = torch.randint(4, (20,), generator=twin.generator("labels"))
    images = twin.normalise(forget.images)
    gradients = torch.autograd.grad(
        F.cross_entropy(start(images), forget.labels), list(start.parameters())
    )
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients])
    least = sizes.sort(descending=True).values[round(0.3 * len(sizes)) - 1]

    def relabelled(model):
        return F.cross_entropy(model(images), labels)

    def kept(model):
        return F.cross_entropy(model(twin.normalise(retain.images)), retain.labels)

    expected = start
    for loss in (relabelled, kept):
        expected = stepped(expected, loss, lr=0.01)
        with torch.no_grad():
            for weight, before, gradient in zip(
                expected.parameters(), start.parameters(), gradients, strict=True
            ):
                weight.copy_(torch.where(gradient.abs() >= least, weight, before))
    assert_same_weights(method.unlearn(make(BOTH)), expected, start)


def test_salun_moves_no_weight_outside_the_mask_by_momentum_or_decay(make):
    problem = make(BOTH)
    start = [weight.detach().clone() for weight in problem.original.parameters()]
    SalUn(epochs=2, weight_decay=0.1, salient_share=0.3).unlearn(problem)
    moved = [x.ne(y).flatten() for x, y in zip(problem.original.parameters(), start, strict=True)]
    assert torch.cat(moved).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_l1_sparse_adds_a_penalty_that_fades(make):
    method = L1Sparse(gamma=0.01, epochs=2, lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=512)
    twin = make({"retain"})
    images = twin.normalise(twin.retain.images)

    def penalised(gamma):
        def loss(model):
            l1 = sum(weight.abs().sum() for weight in model.parameters() if weight.ndim > 1)
            return F.cross_entropy(model(images), twin.retain.labels) + gamma * l1

        return loss

    start = copy.deepcopy(twin.original)
    expected = stepped(start, penalised(0.01), penalised(0.005), lr=0.01, train=True)
    assert_same_weights(method.unlearn(make({"retain"})), expected, start)


def split(model, stages):
    """Tensors of a model's state by whether they are of its last two blocks."""
    last = {id(x) for block in stages[-2:] for x in block.state_dict(keep_vars=True).values()}
    state = model.state_dict(keep_vars=True).items()
    return ({k: v for k, v in state if (id(v) in last) is wanted} for wanted in (False, True))


@pytest.mark.parametrize("method", [CFk(), EUk()], ids=["cf-k", "eu-k"])
def test_only_the_last_block_and_the_classifier_are_trained(make, method, trained):
    problem = make({"retain"})
    unlearned = method.unlearn(problem)
    before = trained.state_dict()
    rest, last = split(unlearned, problem.stages(unlearned))
    assert all(torch.equal(value, before[name]) for name, value in rest.items())
    assert not any(torch.equal(value, before[name]) for name, value in last.items())
    assert all(weight.requires_grad for weight in unlearned.parameters())
    assert accuracy(problem, unlearned, problem.retain) > 0.85
    seen = problem.meter.seen
    assert seen.backward == problem.schedule_share(None, 0.2 if method == CFk() else 0.3) * 300


def test_cf_k_takes_plain_steps_in_its_blocks(make):
    method = CFk(epochs=1, momentum=0.0, weight_decay=0.0, batch_size=512)
    twin = make({"retain"})
    images = twin.normalise(twin.retain.images)
    expected = copy.deepcopy(twin.original)
    last = [x for block in twin.stages(expected)[-2:] for x in block.parameters()]
    for block in twin.stages(expected)[-2:]:
        block.train()
    gradients = torch.autograd.grad(F.cross_entropy(expected(images), twin.retain.labels), last)
    with torch.no_grad():
        for weight, gradient in zip(last, gradients, strict=True):
            weight -= 0.01 * gradient
    assert_same_weights(method.unlearn(make({"retain"})), expected, twin.original)


def test_eu_k_starts_its_blocks_anew(make, monkeypatch):
    problem = make({"retain"})
    monkeypatch.setattr(problem, "train_like_original", lambda *_, **__: None)
    start = copy.deepcopy(problem.original)
    fresh = make({"retain"}).fresh_network()  # the same first draw
    unlearned = EUk(blocks=2).unlearn(problem)
    for block, old, new in zip(*map(problem.stages, (unlearned, start, fresh)), strict=True):
        is_last = old in problem.stages(start)[-3:]
        expected = (new if is_last else old).state_dict()
        assert all(torch.equal(x, expected[name]) for name, x in block.state_dict().items())
