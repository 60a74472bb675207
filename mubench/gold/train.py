"""Training an original or a gold, from its last checkpoint on."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch

from mubench._util.cache import Store
from mubench._util.hashing import derive_seed
from mubench.training import loop
from mubench.training.loop import EpochLog, Step, TrainState

from .audit import audit_training
from .cached import contiguous, gold_readout, tensors_of
from .identity import ModelRef
from .loaded import LoadedTask

CHECKPOINT_SECONDS = 20  # least time between two checkpoints of a training


def train(
    loaded: LoadedTask,
    store: Store,
    ref: ModelRef,
    on_step: Callable[[Step], None] | None = None,
) -> None:
    """Trains, audits and stores a model, unless it is cached; goes on from its last checkpoint.

    Raises:
        mubench.training.Diverged: the recipe diverges.
    """
    with store.lock("models", ref.key, ref.label):
        if store.read("models", ref.key) is None:
            _train(loaded, store, ref, on_step)
    if ref.case:
        gold_readout(loaded, store, ref)


def _train(
    loaded: LoadedTask, store: Store, ref: ModelRef, on_step: Callable[[Step], None] | None
) -> None:
    samples = loaded.split(ref.case)[1] if ref.case else loaded.train
    model = loaded.fresh(derive_seed("initialise", ref.seed))
    initial = tensors_of(model)
    checkpoint = store.read("checkpoints", ref.key)
    resume = (
        _parse_checkpoint(checkpoint.content("state"), checkpoint.provenance)
        if checkpoint
        else None
    )
    spent = checkpoint.provenance["seconds"] if checkpoint else 0.0
    started = last_saved = time.perf_counter()

    def save(make_state: Callable[[], TrainState]) -> None:
        nonlocal last_saved
        if (now := time.perf_counter()) - last_saved > CHECKPOINT_SECONDS:
            last_saved = now
            state = make_state()
            content = safetensors.torch.save(contiguous(state.tensors))
            provenance = {"log": [asdict(x) for x in state.log], "seconds": spent + now - started}
            store.write("checkpoints", ref.key, {"state": content}, provenance)

    log = loop.fit(
        model,
        samples,
        loaded.task.train,
        loaded.pipeline,
        seed=derive_seed("train", ref.seed),
        on_step=on_step,
        resume=resume,
        on_epoch=save,
    )
    seconds = spent + time.perf_counter() - started
    weights = tensors_of(model)
    provenance = {
        "identity": ref.identity,
        "case": ref.case.id if ref.case else None,
        "log": [asdict(line) for line in log],
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "device": loaded.device.type,
        "torch": torch.__version__,
        "audit": audit_training(loaded, ref, samples, model, initial, weights),
    }
    content = safetensors.torch.save(weights)
    store.write("models", ref.key, {"weights.safetensors": content}, provenance)
    store.remove("checkpoints", ref.key)


def _parse_checkpoint(content: bytes, provenance: dict[str, Any]) -> TrainState:
    log = tuple(EpochLog(**line) for line in provenance["log"])
    return TrainState(safetensors.torch.load(content), log)
