"""Flags for results that are not what they seem."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mubench.record.folder import ResultsFolder
from mubench.record.readout import Readout
from mubench.run.cell import Cell, measure
from mubench.run.flags import batch_norm_statistics, find_flags
from mubench.task.spec import ModelSpec
from mubench.training.networks import Architecture
from tests.helpers.methods import method_class


def build(name: str = "resnet18", seed: int = 0) -> nn.Module:
    spec = ModelSpec(name=name, width=4)
    return Architecture(spec, num_classes=4, channels=3, image_size=8).fresh(seed).eval()


def readout(seed: int = 0, predicted: int | None = None) -> Readout:
    random = np.random.default_rng(seed)
    forget_NK = random.normal(size=(6, 4)).astype(np.float32)
    test_MK = random.normal(size=(20, 4)).astype(np.float32)
    if predicted is not None:
        test_MK[:, predicted] += 100
    return Readout(
        forget_logits_NK=forget_NK,
        forget_labels_N=np.zeros(6, np.int64),
        test_logits_MK=test_MK,
        test_predictions_M=test_MK.argmax(1),
        test_labels_M=np.arange(20) % 4,
        retain_correct=1,
        retain_total=2,
    )


def outputs(model: nn.Module) -> torch.Tensor:
    images_NCHW = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images_NCHW)


def flags(
    unlearned: nn.Module, of: Readout | None = None, original: nn.Module | None = None
) -> list[str]:
    golds = [readout(1), readout(2)]
    return find_flags(unlearned, original or build(), of or readout(), golds, outputs)


def changed(model: nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor]) -> nn.Module:
    """A copy with changed weights and buffers."""
    model = copy.deepcopy(model)
    new = {name: change(name, value) for name, value in model.state_dict().items()}
    model.load_state_dict(new)
    return model


def noisy(size: float) -> Callable[[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(4)

    def change(name: str, value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point() or "running" in name:
            return value
        return value + size * torch.randn(value.shape, generator=generator)

    return change


def next_above(_: str, value: torch.Tensor) -> torch.Tensor:
    return value.nextafter(value + 1) if value.is_floating_point() else value + 1


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network whose batch norm has seen images."""
    model = build().train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(5)))
    return model.eval()


def test_an_honest_result_has_no_flags():
    assert flags(build(seed=1)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda name, value: value,
        noisy(1e-7),
        next_above,
        lambda name, value: next_above(name, value) if "running_var" in name else value,
        lambda name, value: value + 1 if "num_batches" in name else value,
        # a convolution twice as large, which the batch norm behind it undoes
        lambda name, value: (
            value * {"conv1.weight": 2, "bn1.running_mean": 2}.get(name, 1)
            if name != "bn1.running_var"
            else value * 4
        ),
    ],
    ids=["same", "noise", "one up", "one up in statistics", "counter", "scaled"],
)
def test_weights_that_change_no_output_are_the_originals(trained, change):
    assert flags(changed(trained, change), original=trained) == ["no-op"]


@pytest.mark.parametrize("size", [1e-2, 1e-3])
def test_weights_that_change_outputs_are_no_no_op(trained, size):
    assert flags(changed(trained, noisy(size)), original=trained) == []


def test_a_step_of_training_is_no_no_op(trained):
    model = copy.deepcopy(trained)
    images_NCHW, labels_N = torch.randn(16, 3, 8, 8), torch.arange(16) % 4
    nn.functional.cross_entropy(model(images_NCHW), labels_N).backward()
    torch.optim.SGD(model.parameters(), lr=1e-2).step()
    assert flags(model, original=trained) == []


def test_nothing_but_the_statistics_of_batch_norm(trained):
    model = copy.deepcopy(trained).train()
    with torch.no_grad():
        model(1 + 2 * torch.randn(8, 3, 8, 8))
    model.eval()
    assert flags(model, original=trained) == ["bn-only"]
    assert flags(changed(model, noisy(1e-7)), original=trained) == ["bn-only"]
    # Its scale is a weight like any other.
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled.bn1.weight += 1
    assert flags(scaled, original=trained) == []


def test_a_network_without_batch_norm_is_never_bn_only():
    original = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    other = changed(original, noisy(0.1))
    assert flags(other, original=original) == []


def test_batch_norm_statistics_are_named_as_in_the_weights():
    model = build()
    names = batch_norm_statistics(model)
    assert names < model.state_dict().keys()
    assert names == {n for n in model.state_dict() if "running" in n or "num_batches" in n}
    assert batch_norm_statistics(nn.Linear(2, 2)) == set()


def test_one_class_for_all():
    assert flags(build(seed=1), readout(predicted=2)) == ["one-class"]


def nudge(original: Readout, by: float) -> Readout:
    noise = np.random.default_rng(9).normal(size=original.forget_logits_NK.shape)
    return dataclasses.replace(
        original,
        forget_logits_NK=(original.forget_logits_NK + by * noise).astype(np.float32),
        test_logits_MK=original.test_logits_MK.astype(np.float16),
    )


@pytest.mark.parametrize(("by", "expected"), [(0, ["gold-copy"]), (1e-4, ["gold-copy"]), (0.1, [])])
def test_a_gold_is_recognised_by_what_it_says(by, expected):
    assert flags(build(seed=1), nudge(readout(2), by)) == expected


def test_golds_are_no_copies_of_each_other(library):
    readouts = [stored.readout for stored in library.readouts(library.loaded.cases[0])]
    model = library.loaded.fresh(0)
    assert find_flags(model, model, readouts[0], readouts[1:], outputs) == ["no-op"]


def test_flags_reach_the_record(library, tmp_path):
    case = library.loaded.cases[0]
    gold = library.model(library.loaded.golds(case)[1])

    def flatten(problem):
        with torch.no_grad():
            for parameter in problem.original.parameters():
                parameter.zero_()
        return problem.original

    def run(name, unlearn):
        method = method_class(unlearn, name=name)
        cell = Cell(case, method, method.cls(), 0)
        return measure(library, cell, ResultsFolder(tmp_path)).record.flags

    assert run("copy", lambda problem: gold) == ("gold-copy",)
    assert run("nothing", lambda problem: problem.original) == ("no-op",)
    assert run("flat", flatten) == ("one-class",)
