"""The library of a task's models: its original and its golds, each under a key of its own.

The original is trained on D. A gold is trained from a fresh initialisation on D_r, with the same
recipe. A model lies in the cache under the hash of everything that determines its weights. So a
change of wording never retrains, and a change of recipe always does.

Scoring needs a gold's readout only, and a method needs the original's weights only.
"""

from collections.abc import Sequence
from typing import Any

import safetensors.torch
import torch
from torch import nn

from mubench._util.cache import Entry, Store
from mubench.record.readout import StoredReadout
from mubench.task.spec import Case
from mubench.training.loop import EpochLog

from .identity import ModelRef
from .loaded import LoadedTask

MODELS, READOUTS, CHECKPOINTS = "models", "readouts", "checkpoints"
"""Kinds of entries in the cache."""
WEIGHTS, READOUT, STATE = "weights.safetensors", "readout.npz", "state"
"""The file in an entry of each kind."""


class GoldLibrary:
    """The original and the golds of one task, as far as they are in a cache."""

    def __init__(self, loaded: LoadedTask, store: Store):
        """A library over a cache.

        Args:
            loaded: the task with its data.
            store: the cache.
        """
        self.loaded = loaded
        self.store = store

    def needed(self, cases: Sequence[Case]) -> list[ModelRef]:
        """The models that measuring these cases needs, cached or not; the original first."""
        loaded = self.loaded
        return [loaded.original, *(ref for case in cases for ref in loaded.golds(case))]

    def missing(self, cases: Sequence[Case]) -> list[ModelRef]:
        """The models that measuring these cases needs and that are not cached."""
        return [ref for ref in self.needed(cases) if not self.is_ready(ref)]

    def is_ready(self, ref: ModelRef) -> bool:
        """True if what measuring needs of a model is cached and whole.

        A damaged entry is reported and removed.
        """
        return self.cached_readout(ref) is not None or self.model_entry(ref) is not None

    def model_entry(self, ref: ModelRef) -> Entry | None:
        """The cache's entry of a model's weights: with their provenance, and the training's log."""
        return self.store.read(MODELS, ref.key)

    def cached_readout(self, ref: ModelRef) -> StoredReadout | None:
        """The readout of a gold if it is cached; None for the original."""
        entry = self.store.read(READOUTS, self.loaded.readout_key(ref)) if ref.case else None
        return StoredReadout(entry.content(READOUT), ref.label) if entry else None

    def original(self) -> nn.Module:
        """A copy of the original, in eval mode on the device; must be cached."""
        return self.model(self.loaded.original)

    def model(self, ref: ModelRef) -> nn.Module:
        """A copy of a model, in eval mode on the device; must be cached."""
        model = self.loaded.fresh(0)
        model.load_state_dict(safetensors.torch.load(self._entry(ref).content(WEIGHTS)))
        return model.to(memory_format=torch.channels_last).eval()

    def training_log(self) -> tuple[EpochLog, ...]:
        """The log of the original's training, one line per epoch; must be cached."""
        log: list[dict[str, Any]] = self._entry(self.loaded.original).provenance["log"]
        return tuple(EpochLog(**line) for line in log)

    def readout(self, ref: ModelRef) -> StoredReadout:
        """The readout of a gold, made from the gold's weights if it is not cached."""
        assert ref.case, "the original has no readout"
        key = self.loaded.readout_key(ref)
        with self.store.lock(READOUTS, key, f"the readout of {ref.label}"):
            if stored := self.cached_readout(ref):
                return stored
            stored = StoredReadout.of(self.loaded.readout(self.model(ref), ref.case), ref.label)
            data = self.loaded.task.data
            provenance = {
                "model": ref.identity,
                "seed": ref.seed,
                "case": ref.case.id,
                "data": data.name,
                "holdout_share": data.holdout_share,
            }
            self.store.write(READOUTS, key, {READOUT: stored.content}, provenance)
            return stored

    def readouts(self, case: Case) -> list[StoredReadout]:
        """The readouts of a case's golds, in the order of `LoadedTask.golds`."""
        return [self.readout(ref) for ref in self.loaded.golds(case)]

    def _entry(self, ref: ModelRef) -> Entry:
        entry = self.model_entry(ref)
        assert entry, f"{ref.label} is not cached: mubench.gold.build comes first"
        return entry
