"""What the steps of a training that met chosen samples have changed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mubench._util.hashing import derive_seed
from mubench.task.spec import TrainSpec
from mubench.training import loop
from mubench.training.updates import fit_logged
from tests.helpers.patterns import PIPELINE, TRAIN

RECIPE = TrainSpec(
    epochs=2, batch_size=32, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4,
    schedule="constant",
)  # fmt: skip


def two_layers():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3)  # whose weights a training on images moves in memory
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 4))


def chosen(*positions):
    is_chosen_N = torch.zeros(len(TRAIN), dtype=torch.bool)
    is_chosen_N[list(positions)] = True
    return is_chosen_N


def logged(is_chosen_N):
    model = two_layers()
    (updates,) = fit_logged(model, TRAIN, is_chosen_N[None], RECIPE, PIPELINE, seed=5)
    return model, updates


def test_the_sum_is_that_of_a_training_written_by_hand():
    positions = {3, 4, 200}
    trained, updates = logged(chosen(*positions))
    model = two_layers().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    sums = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    num_steps = 0
    for epoch in range(2):
        seed = derive_seed("epoch", 5, epoch)
        for batch in loop.batches(TRAIN, PIPELINE, batch_size=32, seed=seed):
            before = {name: value.detach().clone() for name, value in model.named_parameters()}
            optimizer.zero_grad()
            F.cross_entropy(model(batch.images_NCHW), batch.labels_N).backward()
            optimizer.step()
            if positions & set(batch.index_N.tolist()):
                num_steps += 1
                for name, value in model.named_parameters():
                    sums[name] += value.detach() - before[name]
    assert 2 <= num_steps <= 6
    assert updates.num_steps == num_steps
    assert updates.sums.keys() == sums.keys()
    assert all(torch.equal(updates.sums[name], value) for name, value in sums.items())
    for name, value in model.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value)


def test_choices_are_logged_side_by_side_as_each_alone():
    choices = [chosen(3, 4, 200), chosen(), chosen(3, 7)]
    together = fit_logged(two_layers(), TRAIN, torch.stack(choices), RECIPE, PIPELINE, seed=5)
    assert len(together) == 3
    for choice, updates in zip(choices, together, strict=True):
        _, alone = logged(choice)
        assert updates.num_steps == alone.num_steps
        assert all(torch.equal(updates.sums[name], value) for name, value in alone.sums.items())
    assert together[0].num_steps > together[1].num_steps == 0


def test_a_training_that_logs_ends_with_the_bits_of_one_that_does_not():
    trained, _ = logged(chosen(0))
    model = two_layers()
    loop.fit(model, TRAIN, RECIPE, PIPELINE, seed=5)
    for name, value in model.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value)


def test_steps_without_a_chosen_sample_do_not_count():
    _, none = logged(chosen())
    assert none.num_steps == 0
    assert not any(value.any() for value in none.sums.values())
    trained, all_steps = logged(chosen(*range(len(TRAIN))))
    assert all_steps.num_steps == 2 * 10
    start = dict(two_layers().named_parameters())
    for name, value in trained.named_parameters():
        whole = (value - start[name]).detach()
        assert all_steps.sums[name] == pytest.approx(whole, abs=1e-5)
        assert not all_steps.sums[name].requires_grad
