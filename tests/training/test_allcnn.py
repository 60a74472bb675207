"""All-CNN-C: the layers of the paper's table, its pooled features and its dropout."""

import pytest
import torch
from torch import nn

from mubench.task.architectures import AllCNNOptions
from mubench.training.allcnn import AllCNN
from tests.helpers.networks import K, images


def network(**options) -> AllCNN:
    return AllCNN(num_classes=K, channels=3, width=6, options=AllCNNOptions(**options))


def test_the_convolutions_are_those_of_the_paper():
    # arXiv:1412.6806, table 1, with the width in place of 96; the head stands for the tenth layer
    convolutions = [layer for layer in network().modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions] == [
        (6, 3, 1), (6, 3, 1), (6, 3, 2), (12, 3, 1), (12, 3, 1), (12, 3, 2), (12, 3, 1), (12, 1, 1)
    ]  # fmt: skip


def test_features_are_the_means_of_the_last_map():
    model = network().eval()
    batch = images(size=16)
    with torch.no_grad():
        maps = model.forward_features(batch)
        assert maps.shape == (5, 12, 4, 4)
        pooled = model.forward_head(maps, pre_logits=True)
        torch.testing.assert_close(pooled, maps.flatten(2).mean(2))
        torch.testing.assert_close(model(batch), model.head(pooled))


@pytest.mark.parametrize(("dropout", "rates"), [(False, [0, 0, 0]), (True, [0.2, 0.5, 0.5])])
def test_dropout_is_on_the_input_and_behind_each_stride(dropout, rates):
    body = network(dropout=dropout).body
    places = [place for place, layer in enumerate(body) if isinstance(layer, nn.Dropout)]
    assert [body[place].p for place in places] == rates
    first, *others = places
    assert first == 0
    assert [body[place - 1][0].stride for place in others] == [(2, 2), (2, 2)]
