"""A trainer: passes that share one optimiser."""

import torch
from torch.nn import functional as F

from mubench.method.meter import Meter
from tests.helpers.problems import make_problem


def by_hand(problem, model, batches, rates, momentum):
    """Plain SGD over batches, as the trainer must do it; one rate a batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum)
    model.train()
    for (images, labels, _), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_optimisers_state_lasts_and_the_rate_can_be_set(tiny):
    problem, twin = (make_problem(tiny, "forget") for _ in range(2))
    trainer = problem.trainer(problem.original, lr=0.1, momentum=0.9, batch_size=6)
    trainer.epoch(problem.forget)
    trainer.lr = 0.01
    trainer.epoch(problem.forget)
    passes = [batch for _ in range(2) for batch in twin.batches(twin.forget, batch_size=6)]
    expected = by_hand(twin, twin.original, passes, [0.1, 0.01], momentum=0.9)
    # The batch is all of D_f; its order differs, and with it the last bits.
    pairs = zip(problem.original.parameters(), expected.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert not problem.original.training


def test_one_pass_is_one_epoch_of_fine_tune(tiny):
    problem, twin = (make_problem(tiny, "retain") for _ in range(2))
    problem.trainer(problem.original, lr=0.05, weight_decay=5e-4).epoch(problem.retain)
    twin.fine_tune(twin.original, twin.retain, epochs=1, lr=0.05, weight_decay=5e-4)
    assert same(problem.original, twin.original)


def test_passes_are_counted_have_their_own_batches_and_can_end(tiny):
    meter = Meter()
    problem = make_problem(tiny, "forget", "retain", meter=meter)
    trainer = problem.trainer(problem.original, lr=0.01, batch_size=3)
    sizes = []

    def loss(logits_NK, batch):
        sizes.append(len(batch.labels_N))
        return F.cross_entropy(logits_NK, batch.labels_N)

    trainer.epoch(problem.forget, loss=loss)
    trainer.epoch(problem.forget, loss=loss, batch_size=2)
    trainer.epoch(problem.retain, loss=loss, after_step=lambda: True)
    assert sizes == [3, 3, 2, 2, 2, 3]
    assert (meter.seen.forward, meter.seen.backward) == (15, 15)


def test_batch_norm_can_be_frozen_and_gradients_clipped(tiny):
    problem = make_problem(tiny, "forget")
    model = problem.original
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = problem.trainer(
        model, lr=1.0, momentum=0.0, batch_size=6, freeze_batch_norm=True, max_norm=1e-3
    )
    trainer.epoch(problem.forget)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)
    moved = sum((before[name] - p).square().sum() for name, p in model.named_parameters())
    assert moved.sqrt().item() <= 1e-3 * 1.001
    assert moved > 0
