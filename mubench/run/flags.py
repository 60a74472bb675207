"""Finding the flags of a record: what a reader must know of an unlearned model."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mubench.record.flags import Flag
from mubench.record.readout import Readout

SAME_LOGITS = 0.01
"""Largest distance between the logits of two copies of one model, as a share of the logits' size.

Devices and rounding move logits by less. Two trainings from other seeds are much further apart."""


def find_flags(
    unlearned: nn.Module, original: nn.Module, readout: Readout, golds: Sequence[Readout]
) -> list[Flag]:
    """What is suspicious about an unlearned model.

    Args:
        unlearned: the scored network.
        original: the network that the method was given, as it was then.
        readout: the readout of the scored network.
        golds: readouts of the case's golds.

    Returns:
        Any of `no-op`, `bn-only`, `one-class` and `gold-copy`. A copy of a gold is recognised by
        its logits, because the weights of a gold need not be here.
    """
    found = []
    changed = changed_weights(unlearned, original)
    if not changed:
        found.append(Flag.NO_OP)
    elif changed <= batch_norm_statistics(original):
        found.append(Flag.BN_ONLY)
    if len(np.unique(readout.test_predictions_M)) == 1:
        found.append(Flag.ONE_CLASS)
    if any(_same_model(readout, gold) for gold in golds):
        found.append(Flag.GOLD_COPY)
    return found


def changed_weights(model: nn.Module, original: nn.Module) -> set[str]:
    """Names of the parameters and buffers in which two models are not equal, bit for bit."""
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
