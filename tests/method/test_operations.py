"""Counting operations: what counts, and that counting changes nothing."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mubench.method.operations import counted_operations
from mubench.task.spec import ModelSpec
from tests.helpers.networks import images, make

MODELS = [
    ModelSpec(name="allcnn", width=8),
    ModelSpec(name="resnet18", width=8),
    ModelSpec(name="vit", width=24, options={"depth": 2}),
]


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_a_training_step_counts_as_torch_counts_it_and_comes_out_the_same(spec):
    def step():
        model = make(spec)
        model(images()).sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    with FlopCounterMode(display=False) as torchs:
        expected = step()
    with counted_operations() as operations:
        gradients = step()
    counted = operations.forward + operations.backward
    if spec.name == "vit":  # torch has no formula for attention on the CPU
        assert counted > torchs.get_total_flops() > 0
    else:
        assert counted == torchs.get_total_flops() > 0
    assert operations.forward < operations.backward
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))


X_32, Y_24, Z_2 = torch.ones(3, 2), torch.ones(2, 4), torch.ones(2)
PRODUCTS = {  # two operations for each pair of factors
    "mm": (lambda: X_32 @ Y_24, 2 * 3 * 2 * 4),
    "mm out": (lambda: torch.mm(X_32, Y_24, out=torch.empty(3, 4)), 2 * 3 * 2 * 4),
    "linear": (lambda: F.linear(X_32, Y_24.T, torch.ones(4)), 2 * 3 * 2 * 4),
    "addmm_": (lambda: torch.ones(3, 4).addmm_(X_32, Y_24), 2 * 3 * 2 * 4),
    "mv": (lambda: X_32 @ Z_2, 2 * 3 * 2),
    "dot": (lambda: Z_2 @ Z_2, 2 * 2),
    "bmm": (lambda: torch.ones(5, 3, 2) @ torch.ones(5, 2, 4), 5 * 2 * 3 * 2 * 4),
    "einsum": (lambda: torch.einsum("ab,bc->ac", X_32, Y_24), 2 * 3 * 2 * 4),
    "addbmm": (
        lambda: torch.addbmm(torch.ones(3, 4), torch.ones(5, 3, 2), torch.ones(5, 2, 4)),
        5 * 2 * 3 * 2 * 4,
    ),
    "conv": (lambda: F.conv2d(torch.ones(5, 3, 4, 4), torch.ones(7, 3, 3, 3)), 2 * 5 * 7 * 4 * 27),
    "groups": (
        lambda: F.conv2d(torch.ones(5, 4, 3, 3), torch.ones(4, 1, 3, 3), groups=4),
        2 * 5 * 4 * 9,
    ),
    "transposed": (
        lambda: F.conv_transpose2d(torch.ones(5, 3, 4, 4), torch.ones(3, 7, 3, 3)),
        2 * 5 * 3 * 16 * 7 * 9,
    ),
    "raw conv": (
        lambda: torch.mkldnn_convolution(
            torch.ones(5, 3, 4, 4), torch.ones(7, 3, 3, 3), None, [0, 0], [1, 1], [1, 1], 1
        ),
        2 * 5 * 7 * 4 * 27,
    ),
    "without values": (lambda: torch.ones(3, 2, device="meta") @ Y_24.to("meta"), 0),
    "no product": (lambda: (X_32 * 2).sum(), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_an_operation_counts_by_its_size(name):
    run, expected = PRODUCTS[name]
    with counted_operations() as operations:
        run()
    assert (operations.forward, operations.backward) == (expected, 0)
    assert operations.is_intact


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_backward_pass_takes_as_much_for_the_input_and_for_the_weight(layer, groups):
    module = layer(4, 8, 3, groups=groups)
    with counted_operations() as operations:
        module(torch.ones(2, 4, 5, 5, requires_grad=True)).sum().backward()
    assert operations.backward == 2 * operations.forward
    with counted_operations() as operations:
        module(torch.ones(2, 4, 5, 5)).sum().backward()
    assert operations.backward == operations.forward


def test_every_thread_counts():
    threads = [threading.Thread(target=lambda: [X_32 @ Y_24 for _ in range(50)]) for _ in range(4)]
    with counted_operations() as operations:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert operations.forward == 4 * 50 * 48


def test_an_error_of_the_callers_ends_the_count_and_no_more():
    with pytest.raises(RuntimeError, match="shapes"), counted_operations() as operations:
        X_32 @ X_32
    assert operations.is_intact
    with counted_operations() as again:
        X_32 @ Y_24
    X_32 @ Y_24  # after the end
    assert again.forward == 48


def test_a_counter_that_was_taken_out_says_so(monkeypatch):
    made = []
    library = torch.library.Library
    monkeypatch.setattr(
        torch.library, "Library", lambda *args: made.append(library(*args)) or made[-1]
    )
    with counted_operations() as operations:
        made[0]._destroy()
    assert not operations.is_intact
