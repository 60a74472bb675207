"""What a gold is held to: D_f never read, freshly initialised, all of it trained."""

from typing import Any

import numpy as np
import torch
from torch import nn

from mubench._util.cache import Store
from mubench._util.hashing import derive_seed
from mubench.record.readout import parse_readout
from mubench.task import data
from mubench.task.data import Samples
from mubench.training import loop

from .cached import gold_readout, load_weights, tensors_of, tensors_sha
from .identity import ModelRef
from .loaded import LoadedTask


def audit_training(
    loaded: LoadedTask,
    ref: ModelRef,
    samples: Samples,
    model: nn.Module,
    initial: dict[str, torch.Tensor],
    weights: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """What `verify` holds a gold to, taken from the very tensors that were trained on."""
    seen = set(data.content_hashes(samples.images.cpu().numpy()))
    indices = loaded.forget_indices(ref.case) if ref.case else ()
    forget = [loaded.data.train_hashes[i].tobytes() for i in indices]
    return {
        "samples": len(samples),
        "forget_samples_seen": sum(hash_ in seen for hash_ in forget),
        "initial_sha256": tensors_sha(initial),
        "parameters": sum(1 for _ in model.named_parameters()),
        "parameters_left_as_initialised": [
            name
            for name, _ in model.named_parameters()
            if torch.equal(initial[name], weights[name])
        ],
    }


def verify(loaded: LoadedTask, store: Store, ref: ModelRef) -> list[str]:
    """What is wrong with a cached model: checksums, audit, weights against readout.

    Returns:
        A line a defect; empty when all holds or when the model is not cached.
    """
    if not store.holds("models", ref.key):
        return []
    if problem := store.damage("models", ref.key):
        return [problem]
    entry = store.read("models", ref.key)
    assert entry
    audit = entry.provenance["audit"]
    defects = []
    if entry.provenance["identity"] != ref.identity:
        defects.append(f"{ref.label}: its provenance is another model's")
    if audit["forget_samples_seen"]:
        defects.append(f"{ref.label}: trained on {audit['forget_samples_seen']} samples of D_f")
    if untrained := audit["parameters_left_as_initialised"]:
        defects.append(f"{ref.label}: never trained {', '.join(untrained)}")
    initial = tensors_of(loaded.fresh(derive_seed("initialise", ref.seed)))
    if tensors_sha(initial) != audit["initial_sha256"]:
        defects.append(f"{ref.label}: did not start from the fresh initialisation of its seed")
    if ref.case:
        forget, _ = loaded.split(ref.case)
        logits = loop.predict(load_weights(loaded, store, ref), forget, loaded.pipeline)
        stored = parse_readout(gold_readout(loaded, store, ref), ref.label)
        if not np.allclose(stored.forget_logits_NK, logits.cpu().numpy(), rtol=1e-3, atol=1e-3):
            defects.append(f"{ref.label}: its readout does not follow from its weights")
    return defects
