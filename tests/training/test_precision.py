"""In which precision a network computes."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mubench.training import loop, precision

CPU = torch.device("cpu")


@pytest.fixture
def without_arithmetic(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16_arithmetic", lambda: False)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    return nn.Sequential(*layers)


def logits_and_gradients(images_NCHW: torch.Tensor, *, seen: list[torch.Tensor] | None = None):
    """Of a network in bfloat16, as float32; `seen` gets what its convolution returned."""
    model = network()
    if seen is not None:
        model[0].register_forward_hook(lambda layer, given, output: seen.append(output.detach()))
    with precision.autocast("bfloat16", CPU):
        logits_NK = model(images_NCHW)
    assert logits_NK.dtype == torch.bfloat16
    F.cross_entropy(logits_NK.float(), torch.arange(len(logits_NK)) % 10).backward()
    return logits_NK.detach().float(), [value.grad for value in model.parameters()]


def test_rounded_float32_has_the_values_of_bfloat16(monkeypatch):
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(precision, "has_bfloat16_arithmetic", lambda: True)
    torchs = logits_and_gradients(images)
    monkeypatch.setattr(precision, "has_bfloat16_arithmetic", lambda: False)
    seen = []
    ours = logits_and_gradients(images, seen=seen)
    layer = network()[0]
    exact = F.conv2d(
        images.bfloat16().double(), layer.weight.bfloat16().double(), layer.bias.bfloat16().double()
    )
    assert seen[0].dtype == torch.bfloat16
    # a sum in float32 may lie on the other side of a midpoint: at most one unit in the last place
    assert (seen[0] == exact.bfloat16()).float().mean() > 0.99
    torch.testing.assert_close(seen[0].double(), exact, rtol=2**-8, atol=1e-6)
    assert (ours[0] - torchs[0]).abs().max() < 0.05
    for mine, its in zip(ours[1], torchs[1], strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, its, rtol=0.05, atol=float(its.abs().max()) * 0.05)


@pytest.mark.usefixtures("without_arithmetic")
def test_only_layers_with_products_are_rounded_and_only_in_bfloat16():
    images = torch.randn(4, 3, 8, 8)
    model = network()
    with precision.autocast("float32", CPU):
        assert torch.equal(model(images), network()(images))
    with precision.autocast("bfloat16", CPU):
        assert images.double().sum().dtype == torch.float64
        assert model[0](images).dtype == torch.bfloat16
    assert model[0](images).dtype == torch.float32


def test_a_training_in_rounded_float32_ends_as_it_does_in_bfloat16(tiny, monkeypatch):
    recipe = tiny.task.train.model_copy(update={"precision": "bfloat16"})
    accuracies = []
    for has_arithmetic in (True, False):
        monkeypatch.setattr(precision, "has_bfloat16_arithmetic", lambda has=has_arithmetic: has)
        model = tiny.fresh(0)
        loop.fit(model, tiny.train, recipe, tiny.pipeline, seed=0)
        logits_NK = loop.predict(model, tiny.test, tiny.pipeline)
        accuracies.append(float((logits_NK.argmax(1) == tiny.test.labels).float().mean()))
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.1)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True}, True),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({}, True),
    ],
)
def test_what_a_processor_can_is_what_torch_says(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.has_bfloat16_arithmetic.__wrapped__() is expected


def test_a_torch_that_does_not_say_is_left_to_itself(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.has_bfloat16_arithmetic.__wrapped__()


def test_float32_on_a_gpu_is_float32_while_a_model_is_read(tiny, monkeypatch):
    before = precision.float32_precision()
    assert before != ("ieee", "ieee")
    with precision.whole_float32(torch.device("cpu")):
        assert precision.float32_precision() == before
    with pytest.raises(KeyError), precision.whole_float32(torch.device("cuda")):
        assert precision.float32_precision() == ("ieee", "ieee")
        raise KeyError
    assert precision.float32_precision() == before
    asked = []
    monkeypatch.setattr(loop, "whole_float32", lambda device: asked.append(device) or nullcontext())
    loop.predict(tiny.fresh(0), tiny.test, tiny.pipeline)
    loop.predict(tiny.fresh(0), tiny.test, tiny.pipeline, precision="bfloat16")
    assert asked == [torch.device("cpu")]


def test_precision_is_a_flag_in_an_older_torch(monkeypatch):
    monkeypatch.setattr(precision, "HAS_PRECISION_NAMES", False)
    before = precision.float32_precision()
    with precision.whole_float32(torch.device("cuda")):
        assert precision.float32_precision() == (False, False)
    assert precision.float32_precision() == before == (True, False)
