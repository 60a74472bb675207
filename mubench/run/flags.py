"""Finding the flags of a record: what a reader must know of an unlearned model."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mubench.record.flags import Flag
from mubench.record.readout import Readout

SAME_LOGITS = 0.01
"""Largest distance between the logits of two copies of one model, as a share of the logits' size.

Devices and rounding move logits by less. Two trainings from other seeds are much further apart."""

SAME_OUTPUTS = 2.0**-11
"""Largest distance between outputs that are the same, as a share of their size.

Readouts keep the logits of test samples in half precision, which rounds by as much. So a change
below this moves no metric. Float32 rounds by a hundredth of it over a whole network."""

COMPARED = 100
"""Samples of D_f, and as many of D_r, that tell whether two networks have the same outputs."""


def find_flags(
    unlearned: nn.Module,
    original: nn.Module,
    readout: Readout,
    golds: Sequence[Readout],
    outputs: Callable[[nn.Module], Tensor],
) -> list[Flag]:
    """What is suspicious about an unlearned model.

    Networks are compared by what they say and not by their weights, because noise in the last
    place of a weight, or a scaling that the next layer undoes, changes weights and nothing else.

    Args:
        unlearned: the scored network.
        original: the network that the method was given, as it was then.
        readout: the readout of the scored network.
        golds: readouts of the case's golds.
        outputs: a network's logits on some samples, (N, K).

    Returns:
        Any of `no-op`, `bn-only`, `one-class` and `gold-copy`. A copy of a gold is recognised by
        its logits, because the weights of a gold need not be here.
    """
    found = []
    logits_NK = outputs(unlearned)
    if _same_outputs(logits_NK, outputs(original)):
        found.append(Flag.NO_OP)
    elif _same_outputs(logits_NK, outputs(_with_statistics(original, unlearned))):
        found.append(Flag.BN_ONLY)
    if len(np.unique(readout.test_predictions_M)) == 1:
        found.append(Flag.ONE_CLASS)
    if any(_same_model(readout, gold) for gold in golds):
        found.append(Flag.GOLD_COPY)
    return found


def _same_outputs(one_NK: Tensor, other_NK: Tensor) -> bool:
    one_NK, other_NK = one_NK.double(), other_NK.double()
    return bool((one_NK - other_NK).norm() <= SAME_OUTPUTS * other_NK.norm())


def _with_statistics(original: nn.Module, other: nn.Module) -> nn.Module:
    """The original with another network's running statistics of batch norm."""
    model, weights = deepcopy(original), other.state_dict()
    names = batch_norm_statistics(original)
    model.load_state_dict({name: weights[name] for name in names}, strict=False)
    return model


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
