"""Training an original or a gold, from its last checkpoint on, audited and kept."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch

from mubench.training import loop
from mubench.training.loop import EpochLog, Step, TrainState
from mubench.training.networks import contiguous_tensors

from .audit import audit_training
from .identity import ModelRef
from .library import CHECKPOINTS, MODELS, STATE, WEIGHTS, GoldLibrary
from .union import union_logits

CHECKPOINT_SECONDS = 20
"""Least seconds between two checkpoints of a training."""


def train(
    library: GoldLibrary, ref: ModelRef, on_step: Callable[[Step], None] | None = None
) -> None:
    """Trains, audits and keeps a model, unless it is cached, and reads it out.

    A gold is read out on its case. Every model is read out on the union of the forget sets.

    Args:
        library: where the model is kept.
        ref: which model.
        on_step: is told of each training step.

    Raises:
        mubench.training.loop.Diverged: the recipe diverges.
    """
    if library.model_entry(ref) is None:
        with library.store.lock(MODELS, ref.key, ref.label):
            if library.model_entry(ref) is None:
                _train(library, ref, on_step)
    if ref.case:
        library.readout(ref, ref.case)
    union_logits(library, ref)


def _train(library: GoldLibrary, ref: ModelRef, on_step: Callable[[Step], None] | None) -> None:
    loaded, store = library.loaded, library.store
    samples = loaded.split(ref.case)[1] if ref.case else loaded.train
    model = loaded.fresh(ref.seed_for("initialise"))
    initial = contiguous_tensors(model.state_dict())
    checkpoint = store.read(CHECKPOINTS, ref.key)
    resume = (
        _parse_checkpoint(checkpoint.content(STATE), checkpoint.provenance) if checkpoint else None
    )
    spent = checkpoint.provenance["seconds"] if checkpoint else 0.0
    started = last_saved = time.perf_counter()

    def save(make_state: Callable[[], TrainState]) -> None:
        nonlocal last_saved
        if (now := time.perf_counter()) - last_saved > CHECKPOINT_SECONDS:
            last_saved = now
            state = make_state()
            content = safetensors.torch.save(contiguous_tensors(state.tensors))
            provenance = {"log": [asdict(x) for x in state.log], "seconds": spent + now - started}
            store.write(CHECKPOINTS, ref.key, {STATE: content}, provenance, replace=True)

    log = loop.fit(
        model,
        samples,
        loaded.task.train,
        loaded.pipeline,
        seed=ref.seed_for("train"),
        on_step=on_step,
        resume=resume,
        on_epoch=save,
    )
    seconds = spent + time.perf_counter() - started
    weights = contiguous_tensors(model.state_dict())
    provenance = {
        "identity": ref.identity,
        "case": ref.case.id if ref.case else None,
        "log": [asdict(line) for line in log],
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "device": loaded.device.type,
        "torch": torch.__version__,
        "audit": audit_training(loaded, ref, samples, initial, weights),
    }
    store.write(MODELS, ref.key, {WEIGHTS: safetensors.torch.save(weights)}, provenance)
    store.remove(CHECKPOINTS, ref.key)


def _parse_checkpoint(content: bytes, provenance: dict[str, Any]) -> TrainState:
    log = tuple(EpochLog(**line) for line in provenance["log"])
    return TrainState(safetensors.torch.load(content), log)
