"""Training an original or a gold, from its last checkpoint on, audited and kept.

An original is trained without a log of updates, as forget sets are drawn later. Where a method
asks for the log, the training is done again with the same recipe and the same seed. So the log is
what the original would have kept.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mubench._util.cache import Content
from mubench._util.messages import say
from mubench.training import ensemble
from mubench.training.loop import EpochLog, Step, TrainState
from mubench.training.networks import contiguous_tensors
from mubench.training.updates import fit_logged

from .audit import audit_training
from .identity import ModelRef, Trained, UpdateLogRef
from .library import (
    CHECKPOINTS,
    MODELS,
    STATE,
    UPDATE_LOGS,
    WEIGHTS,
    GoldLibrary,
    update_log_file,
)
from .union import union_logits

CHECKPOINT_SECONDS = 20
"""Least seconds between two checkpoints of a training."""


def train(
    library: GoldLibrary, ref: Trained, on_step: Callable[[Step], None] | None = None
) -> None:
    """Trains, audits and keeps a model, unless it is cached, and reads it out.

    A gold is read out on its case. Every model is read out on the union of the forget sets. For a
    log of updates, its original is trained again; other weights than before are said on stderr.

    Args:
        library: where the model is kept.
        ref: which model, or which log; the original of a log must be cached.
        on_step: is told of each training step.

    Raises:
        mubench.training.loop.Diverged: the recipe diverges.
    """
    if isinstance(ref, UpdateLogRef):
        library.store.made(
            UPDATE_LOGS, ref.key, lambda: _log_updates(library, ref, on_step), ref.label
        )
        return
    if library.model_entry(ref) is None:
        with library.store.lock(MODELS, ref.key, ref.label):  # not `made`: a checkpoint has to go
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

    log = ensemble.fit(
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


def _log_updates(
    library: GoldLibrary, ref: UpdateLogRef, on_step: Callable[[Step], None] | None
) -> Content:
    """Trains an original again. For each case, sums what the steps that met D_f changed.

    Returns:
        A file for each case, one for the model at the end of the training, and the provenance.
    """
    loaded = library.loaded
    started = time.perf_counter()
    is_forget_CN = torch.zeros(len(loaded.cases), len(loaded.train), dtype=torch.bool)
    for is_forget_N, case in zip(is_forget_CN, loaded.cases, strict=True):
        is_forget_N[torch.from_numpy(loaded.forget_indices(case))] = True
    model = loaded.fresh(ref.original.seed_for("initialise"))
    updates_C = fit_logged(
        model,
        loaded.train,
        is_forget_CN.to(loaded.device),
        loaded.task.train,
        loaded.pipeline,
        seed=ref.original.seed_for("train"),
        on_step=on_step,
    )
    seconds = time.perf_counter() - started
    difference = _largest_difference(model.state_dict(), library.model(ref.original).state_dict())
    if difference:
        say(
            f"{loaded.task.id}: {ref.original.label}, trained again here, ends with other weights, "
            f"up to {difference:.2g} apart: another processor, GPU or torch made it; methods that "
            "take the log start from the original of the training here"
        )
    provenance = {
        "identity": ref.identity,
        "steps": {
            case.id: updates.num_steps
            for case, updates in zip(loaded.cases, updates_C, strict=True)
        },
        "steps_of_training": loaded.retrain_steps(),
        "replay_difference": difference,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "device": loaded.device.type,
        "torch": torch.__version__,
    }
    contents = {
        update_log_file(loaded.forget_sha256(case)): safetensors.torch.save(
            contiguous_tensors(updates.sums)
        )
        for case, updates in zip(loaded.cases, updates_C, strict=True)
    }
    contents[WEIGHTS] = safetensors.torch.save(contiguous_tensors(model.state_dict()))
    return contents, provenance


def _largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The greatest absolute difference of two models' parameters and buffers."""
    return max(
        float((value.double() - other[name].double()).abs().max()) for name, value in one.items()
    )
