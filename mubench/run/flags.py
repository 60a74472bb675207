"""What a reader must know of a result before believing it: flags of a record.

None of them is a verdict. A control is a no-op on purpose; a method that changes nothing but batch
norm's statistics may say so in its paper. The leaderboard shows them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mubench.record.readout import Readout

SAME_LOGITS = 0.01
"""Largest distance between the logits of two copies of one model, as a share of their size. Devices
and rounding move logits by less; two trainings from other seeds are further apart by far."""


def find_flags(
    unlearned: nn.Module, original: nn.Module, readout: Readout, golds: Sequence[Readout]
) -> list[str]:
    """What is suspicious about an unlearned model.

    Args:
        unlearned: the scored network.
        original: the network that the method was given, as it was then.
        readout: of `unlearned`.
        golds: readouts of the case's golds.

    Returns:
        Any of `no-op` (no weight was changed), `bn-only` (nothing but batch norm's statistics),
        `one-class` (all test images are predicted to be of one class), and `gold-copy` (it is one
        of the golds: equal weights give equal logits, and golds whose weights are not here, only
        their readouts, are recognised too).
    """
    found = []
    changed = changed_weights(unlearned, original)
    if not changed:
        found.append("no-op")
    elif changed <= batch_norm_statistics(original):
        found.append("bn-only")
    if len(np.unique(readout.test_predictions_M)) == 1:
        found.append("one-class")
    if any(_same_model(readout, gold) for gold in golds):
        found.append("gold-copy")
    return found


def changed_weights(model: nn.Module, original: nn.Module) -> set[str]:
    """Names of the parameters and buffers that are not equal, bit for bit."""
    before = original.state_dict()
    return {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }


def batch_norm_statistics(model: nn.Module) -> set[str]:
    """Names of the buffers in which batch norm keeps its running statistics."""
    return {
        f"{name}.{buffer}" if name else buffer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for buffer, _ in layer.named_buffers(recurse=False)
    }


def _same_model(one: Readout, other: Readout) -> bool:
    return all(
        np.linalg.norm(a.astype(np.float64) - b) <= SAME_LOGITS * np.linalg.norm(b)
        for a, b in (
            (one.forget_logits_NK, other.forget_logits_NK.astype(np.float64)),
            (one.test_logits_MK, other.test_logits_MK.astype(np.float64)),
        )
    )
