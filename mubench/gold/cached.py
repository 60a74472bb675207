"""Originals and golds: what they are, trained once, kept by content key, audited.

The original is trained on D, a gold from a fresh initialisation on D_r with the same recipe. Either
is stored under the hash of everything that determines it, so a change of wording never retrains and
a change of recipe always does. Scoring needs a gold's readout only, and a method the original's
weights only.
"""

from collections.abc import Sequence

import safetensors.torch
import torch
from torch import nn

from mubench._util.cache import Store
from mubench._util.hashing import sha256_of
from mubench.record.readout import readout_bytes
from mubench.task.spec import Case
from mubench.training.loop import EpochLog

from .identity import ModelRef
from .loaded import LoadedTask


def load_weights(loaded: LoadedTask, store: Store, ref: ModelRef) -> nn.Module:
    """A cached model in eval mode, on the device."""
    entry = store.read("models", ref.key)
    assert entry, f"{ref.label} is not cached: gold_build.build comes first"
    model = loaded.fresh(0)
    tensors = safetensors.torch.load(entry.content("weights.safetensors"))
    model.load_state_dict(tensors)
    return model.to(memory_format=torch.channels_last).eval()


def training_log(store: Store, ref: ModelRef) -> tuple[EpochLog, ...]:
    """The log of a cached model's training."""
    entry = store.read("models", ref.key)
    assert entry
    return tuple(EpochLog(**line) for line in entry.provenance["log"])


def gold_readout(loaded: LoadedTask, store: Store, ref: ModelRef) -> bytes:
    """A gold's readout as npz bytes, made from its weights when it is not cached."""
    assert ref.case
    key = loaded.readout_key(ref)
    with store.lock("readouts", key, f"the readout of {ref.label}"):
        entry = store.read("readouts", key)
        if entry is None:
            content = readout_bytes(loaded.readout(load_weights(loaded, store, ref), ref.case))
            provenance = {"model": ref.identity, "seed": ref.seed, "case": ref.case.id}
            entry = store.write("readouts", key, {"readout.npz": content}, provenance)
        return entry.content("readout.npz")


def is_ready(loaded: LoadedTask, store: Store, ref: ModelRef) -> bool:
    """Whether what a run needs of a model is cached and whole; damage is reported and removed."""
    if ref.case and store.read("readouts", loaded.readout_key(ref)):
        return True
    return store.read("models", ref.key) is not None


def needed(loaded: LoadedTask, cases: Sequence[Case]) -> list[ModelRef]:
    """The models that running these cases needs, cached or not."""
    return [loaded.original, *(ref for case in cases for ref in loaded.golds(case))]


def missing(loaded: LoadedTask, store: Store, cases: Sequence[Case]) -> list[ModelRef]:
    """Those of them that are not cached."""
    return [ref for ref in needed(loaded, cases) if not is_ready(loaded, store, ref)]


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of a model's parameters and buffers on the CPU, contiguous."""
    return contiguous({name: value.detach().cpu() for name, value in model.state_dict().items()})


def contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous copies."""
    return {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }


def tensors_sha(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of tensors as safetensors."""
    return sha256_of(safetensors.torch.save(tensors))
