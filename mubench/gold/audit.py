"""What a gold is held to: D_f never read, freshly initialised, every parameter trained.

`audit_training` takes the evidence from the very tensors that are trained on, and the evidence is
kept with the weights. `find_defects` holds a cached model against that evidence.
"""

from typing import Any

import numpy as np
import safetensors.torch
import torch

from mubench._util.hashing import sha256_of
from mubench.task import data
from mubench.task.data import Samples
from mubench.training import loop
from mubench.training.networks import contiguous_tensors

from .identity import ModelRef
from .library import MODELS, GoldLibrary
from .loaded import LoadedTask


def audit_training(
    loaded: LoadedTask,
    ref: ModelRef,
    samples: Samples,
    initial: dict[str, torch.Tensor],
    weights: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """The evidence of a training, as JSON values.

    Args:
        loaded: the task.
        ref: the model.
        samples: what the model was trained on.
        initial: the parameters and buffers before the training.
        weights: the parameters and buffers after it.
    """
    seen = set(data.content_hashes(samples.images.cpu().numpy()))
    indices = loaded.forget_indices(ref.case) if ref.case else ()
    forget = [loaded.data.train_hashes[i].tobytes() for i in indices]
    parameters = [name for name, _ in loaded.fresh(0).named_parameters()]
    return {
        "samples": len(samples),
        "forget_samples_seen": sum(hash_ in seen for hash_ in forget),
        "initial_sha256": _tensors_sha256(initial),
        "parameters": len(parameters),
        "parameters_left_as_initialised": [
            name for name in parameters if torch.equal(initial[name], weights[name])
        ],
    }


def find_defects(library: GoldLibrary, ref: ModelRef) -> list[str]:
    """What is wrong with a cached model: checksums, audit, readout against weights.

    Returns:
        One line per defect; empty if everything holds or the model is not cached.
    """
    loaded, store = library.loaded, library.store
    if not store.holds(MODELS, ref.key):
        return []
    if damage := store.damage(MODELS, ref.key):
        return [damage]
    entry = library.model_entry(ref)
    assert entry
    audit = entry.provenance["audit"]
    defects = []
    if entry.provenance["identity"] != ref.identity:
        defects.append(f"{ref.label}: its provenance is another model's")
    if audit["forget_samples_seen"]:
        defects.append(f"{ref.label}: trained on {audit['forget_samples_seen']} samples of D_f")
    if untrained := audit["parameters_left_as_initialised"]:
        defects.append(f"{ref.label}: never trained {', '.join(untrained)}")
    fresh = loaded.fresh(ref.seed_for("initialise"))
    if _tensors_sha256(contiguous_tensors(fresh.state_dict())) != audit["initial_sha256"]:
        defects.append(f"{ref.label}: did not start from the fresh initialisation of its seed")
    if ref.case:
        forget, _ = loaded.split(ref.case)
        logits_NK = loop.predict(library.model(ref), forget, loaded.pipeline).cpu().numpy()
        stored_NK = library.readout(ref, ref.case).readout.forget_logits_NK
        if not np.allclose(stored_NK, logits_NK, rtol=1e-3, atol=1e-3):
            defects.append(f"{ref.label}: its readout does not follow from its weights")
    return defects


def _tensors_sha256(tensors: dict[str, torch.Tensor]) -> str:
    return sha256_of(safetensors.torch.save(tensors))
