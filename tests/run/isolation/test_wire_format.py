"""What crosses the border of an isolated process, in and out."""

import numpy as np
import pytest
import safetensors.torch
import torch

from mubench.gold.train import train
from mubench.method.access import GOLD_ACCESS
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder
from mubench.record.schema import Usage
from mubench.run.cell import Cell, measure
from mubench.run.execute import MethodOutcome
from mubench.run.isolation import wire_format
from tests.helpers.problems import make_inputs


def test_methods_that_get_the_training_log_and_declare_no_forget_set(run, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Mine:
    requires: ClassVar[frozenset[str]] = frozenset({"training_log", "retain"})
    def unlearn(self, problem):
        assert [line.epoch for line in problem.training_log] == [1, 2, 3]
        assert problem.retain.images.shape == (234, 3, 8, 8)
        try:
            problem.forget
        except RuntimeError:
            return problem.original
"""
    )
    assert run(f"{source}:Mine").record.error is None


def test_a_method_gets_the_same_log_of_updates_as_in_this_process(run, library, tmp_path):
    loaded = library.loaded
    train(library, loaded.update_log_ref(loaded.originals[0]))
    isolated = run("amnesiac-subtract", epochs=1).record
    method = load_method("amnesiac-subtract")
    instance = configure(method, {"epochs": 1})
    cell = Cell(loaded.cases[0], method, instance, 0)
    here = measure(library, cell, ResultsFolder(tmp_path)).record
    assert (isolated.status, isolated.isolation is None, here.isolation) == ("ok", False, None)
    assert isolated.readout_sha256 == here.readout_sha256


def test_an_outcome_is_not_believed_before_it_is_checked():
    def outcome(num_forward=0, **changes):
        reports = {"easy": np.array([True, False]), **changes.pop("reports", {})}
        weights = {"w": torch.ones(2, 3).T}
        usage = Usage(forward_samples=num_forward)
        left = MethodOutcome("ok", weights=weights, reports=reports, usage=usage, **changes)
        return wire_format.pack_outcome(left)

    whole = wire_format.unpack_outcome(outcome(num_forward=3), 2)
    assert whole.weights is not None
    assert whole.weights["w"].tolist() == torch.ones(3, 2).tolist()
    assert whole.usage.forward_samples == 3
    assert whole.reports["easy"].tolist() == [True, False]
    counted = outcome(num_forward=12)
    assert b'"forward_samples":12' in counted
    for content in (
        b"",
        b"x" * 100,
        counted[:-1],
        counted.replace(b'"forward_samples":12', b'"forward_samples":-1'),
        safetensors.torch.save({"json": torch.ones(9, dtype=torch.bfloat16)}),
        safetensors.torch.save({"weights.w": torch.ones(9)}),
    ):
        with pytest.raises(ValueError, match="unreadable"):
            wire_format.unpack_outcome(content, 2)
    nan = np.array([0.0, np.nan], np.float32)
    for reports in ({"hard": np.zeros(2)}, {"easy": np.zeros(2)}, {"easy_score": nan}):
        with pytest.raises(ValueError, match="bad report"):
            wire_format.unpack_outcome(outcome(reports=reports), 2)
    with pytest.raises(ValueError, match="bad report"):
        wire_format.unpack_outcome(outcome(), 3)


ALL = (
    "forget", "retain", "holdout", "training_log", "update_log", "gold_labels",
    "gold_probabilities",
)  # fmt: skip


@pytest.mark.parametrize("requires", [ALL, ("retain",), ()])
def test_inputs_arrive_as_they_were_given(library, requires):
    given = make_inputs(library.loaded, *requires, library=library, seed=7)
    got = wire_format.unpack_inputs(wire_format.pack_inputs(given))
    for name in ("requires", "num_forget", "architecture", "data", "recipe", "seed", "device"):
        assert getattr(got, name) == getattr(given, name)
    assert got.original.keys() == given.original.keys()
    assert all(torch.equal(got.original[name], value) for name, value in given.original.items())
    assert got.access.keys() == given.access.keys() == set(requires)
    for name in {"forget", "retain", "holdout"} & got.access.keys():
        assert torch.equal(got.access[name].images, given.access[name].images)
        assert torch.equal(got.access[name].labels, given.access[name].labels)
    assert got.access.get("training_log") == given.access.get("training_log")
    for name in GOLD_ACCESS & set(requires):
        assert torch.equal(got.access[name], given.access[name])
    updates, expected = (one.access.get("update_log", {}) for one in (got, given))
    assert updates.keys() == expected.keys()
    assert all(torch.equal(updates[name], value) for name, value in expected.items())


def test_shards_arrive(sharded):
    given = make_inputs(sharded, "shards")
    got = wire_format.unpack_inputs(wire_format.pack_inputs(given))
    assert got.access == given.access == {"shards": 3}
