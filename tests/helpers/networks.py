"""Small networks, and images for them."""

import torch
from torch import nn

from mubench.task.spec import ModelSpec
from mubench.training.networks import build

K = 7


def make(spec: ModelSpec, channels: int = 3, size: int = 8, seed: int = 0) -> nn.Module:
    return build(spec, num_classes=K, channels=channels, image_size=size, seed=seed)


def images(channels: int = 3, size: int = 8, num: int = 5) -> torch.Tensor:
    return torch.randn(num, channels, size, size, generator=torch.Generator().manual_seed(1))
