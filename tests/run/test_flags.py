"""Flags for results that are not what they seem."""

import copy
import dataclasses

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


def flags(unlearned: nn.Module, of: Readout | None = None) -> list[str]:
    return find_flags(unlearned, build(), of or readout(), [readout(1), readout(2)])


def test_an_honest_result_has_no_flags():
    assert flags(build(seed=1)) == []


def test_unchanged_weights():
    assert flags(build()) == ["no-op"]
    nudged = build()
    with torch.no_grad():
        next(nudged.parameters()).view(-1)[0] += 1e-6
    assert flags(nudged) == []


def test_nothing_but_the_statistics_of_batch_norm():
    model = build().train()
    with torch.no_grad():
        model(torch.randn(8, 3, 8, 8))
    assert flags(model.eval()) == ["bn-only"]
    counted = build()
    counted.bn1.num_batches_tracked += 1
    assert flags(counted) == ["bn-only"]
    # Its scale is a weight like any other.
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled.bn1.weight += 1
    assert flags(scaled) == []


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
    assert find_flags(model, model, readouts[0], readouts[1:]) == ["no-op"]


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
