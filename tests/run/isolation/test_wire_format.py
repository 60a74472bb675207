"""What crosses the border of an isolated process, in and out."""

import numpy as np
import pytest
import safetensors.torch
import torch

from mubench.run.execute import Outcome
from mubench.run.isolation import wire_format


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


def test_an_outcome_is_not_believed_before_it_is_checked():
    def outcome(**changes):
        reports = {"easy": np.array([True, False]), **changes.pop("reports", {})}
        weights = {"w": torch.ones(2, 3).T}
        return wire_format.pack_outcome(Outcome("ok", weights=weights, reports=reports, **changes))

    whole = wire_format.unpack_outcome(outcome(forward_samples=3), 2)
    assert whole.weights is not None
    assert whole.weights["w"].tolist() == torch.ones(3, 2).tolist()
    assert whole.forward_samples == 3
    assert whole.reports["easy"].tolist() == [True, False]
    counted = outcome(forward_samples=12)
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
