"""Gradients of samples, layer by layer, against those of `torch.func.vmap` and of autograd."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mubench.task.spec import ModelSpec
from mubench.training import derivatives
from mubench.training.layerwise import is_layerwise, sample_gradients, sums_of_squares
from mubench.training.loop import Batch
from mubench.training.networks import Architecture


def a_batch(count=5, channels=3, size=8):
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randn(count, channels, size, size, generator=generator)
    return Batch(images_NCHW, torch.arange(count) % 4, torch.arange(count))


def all_logits(logits_NK, batch):
    return logits_NK[0]


def cross_entropy(logits_NK, batch):
    return F.cross_entropy(logits_NK, batch.labels_N) * (1 + batch.index_N[0])


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)


def network(name):
    width = {"width": 8} if name == "resnet18" else {"width": 6}
    return Architecture(ModelSpec(name=name, **width), 4, 3, 8).fresh(0).eval()


@pytest.mark.parametrize("loss", [all_logits, cross_entropy])
@pytest.mark.parametrize("name", ["resnet18", "allcnn"])
def test_they_are_those_of_a_network_per_sample(name, loss):
    model, batch = network(name), a_batch()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
    assert is_layerwise(model)
    found = sample_gradients(model, batch, loss)
    assert_same(found, derivatives._by_vmap(model, batch, loss))
    assert not any(layer._forward_hooks for layer in model.modules())


def test_every_option_of_a_layer_is_heeded():
    model = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        nn.BatchNorm2d(4, eps=0.1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.Flatten(2),
        nn.Linear(40, 3, bias=False),  # at each of the channels
        nn.Flatten(),
        nn.Linear(12, 4),
    ).eval()
    batch = a_batch()
    assert is_layerwise(model)
    assert_same(
        sample_gradients(model, batch, all_logits), derivatives._by_vmap(model, batch, all_logits)
    )


class Twice(nn.Module):
    """One layer on the way twice, and one that is on no way."""

    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, images_NCHW):
        return self.layer(self.layer(images_NCHW.mean((2, 3))).relu())


def test_a_layer_that_is_called_twice_has_one_gradient_and_an_unused_one_has_zeros():
    model, batch = Twice().eval(), a_batch(channels=4)
    found = sample_gradients(model, batch, cross_entropy)
    expected = derivatives._by_vmap(model, batch, cross_entropy)
    assert_same(found, expected)
    assert not found["unused.weight"].any()
    assert found["layer.weight"].any()


def test_frozen_parameters_are_left_out():
    model, batch = network("resnet18"), a_batch()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    model.requires_grad_(False)
    for layer in norms[1:]:
        layer.weight.requires_grad_(True)
    found = sample_gradients(model, batch, all_logits)
    assert len(found) == len(norms) - 1
    assert_same(found, derivatives._by_vmap(model, batch, all_logits))


class Scaled(nn.Linear):
    """No linear layer, though it is one by type."""

    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    "model",
    [
        Scaled(4, 4),
        tied(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        Architecture(
            ModelSpec(name="vit", width=8, options={"depth": 1, "heads": 2, "patch": 4}), 4, 3, 8
        ).fresh(0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_layers_are_left_to_vmap(model):
    assert not is_layerwise(nn.Sequential(nn.Flatten(), model))
    assert is_layerwise(nn.Sequential(nn.Flatten(), model).requires_grad_(False))


@pytest.mark.parametrize("loss", [all_logits, cross_entropy])
def test_squares_are_summed_over_samples_and_values(loss):
    model, batch = network("resnet18"), a_batch()
    each = sample_gradients(model, batch, loss)
    expected = {
        name: each[name].square().sum_to_size(weight.shape)
        for name, weight in model.named_parameters()
    }
    assert_same(sums_of_squares(model, batch, loss), expected)
