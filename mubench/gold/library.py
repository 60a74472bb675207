"""The library of a task's models: its originals and its golds, each under a key of its own.

An original is trained on D. A gold is trained from a fresh initialisation on D_r, with the same
recipe. A model lies in the cache under the hash of everything that determines its weights. So a
change of wording never retrains, and a change of recipe always does.

Scoring needs the readouts of golds only, and a method needs an original's weights only.
"""

import errno
from collections.abc import Collection, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from mubench._util.backends.manifest import Entry
from mubench._util.cache import Content, Store
from mubench.record.readout import StoredReadout
from mubench.task.spec import Case
from mubench.training.loop import EpochLog

from .identity import ModelRef, Trained, UpdateLogRef
from .loaded import LoadedTask

MODELS, READOUTS, CHECKPOINTS = "models", "readouts", "checkpoints"
"""Kinds of entries in the cache."""
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says of a cache that this user cannot write."""
UPDATE_LOGS = "update-logs"
"""The kind of logs of updates."""
WEIGHTS, READOUT, STATE = "weights.safetensors", "readout.npz", "state"
"""The file in an entry of each kind. A log has weights too: those at the end of its training."""


def update_log_file(forget_sha256: str) -> str:
    """The file for one D_f in an entry of a log of updates.

    Args:
        forget_sha256: identity of the D_f.
    """
    return f"{forget_sha256}.safetensors"


class GoldLibrary:
    """The originals and the golds of one task, as far as they are in a cache."""

    def __init__(self, loaded: LoadedTask, store: Store):
        """A library over a cache.

        Args:
            loaded: the task with its data.
            store: the cache.
        """
        self.loaded = loaded
        self.store = store

    def needed(self, cases: Sequence[Case], seeds: Collection[int] | None = None) -> list[ModelRef]:
        """The models that measuring these cases needs, cached or not; the originals first.

        Args:
            cases: that are to be measured.
            seeds: of the method's runs. None: any, so all originals are needed.
        """
        loaded = self.loaded
        starts = {loaded.original(case, seed).seed for case in cases for seed in seeds or ()}
        originals = [ref for ref in loaded.originals if seeds is None or ref.seed in starts]
        return [*originals, *(ref for case in cases for ref in loaded.golds(case))]

    def missing(
        self, cases: Sequence[Case], seeds: Collection[int] | None = None
    ) -> list[ModelRef]:
        """The models that measuring these cases needs and that are not cached.

        Args:
            cases: that are to be measured.
            seeds: of the method's runs. None: any.
        """
        return [ref for ref in self.needed(cases, seeds) if not self.is_ready(ref)]

    def is_ready(self, ref: ModelRef) -> bool:
        """True if what measuring needs of a model is cached and whole.

        A damaged entry is reported and removed.
        """
        has_readout = ref.case is not None and self.cached_readout(ref, ref.case) is not None
        return has_readout or self.model_entry(ref) is not None

    def model_entry(self, ref: ModelRef) -> Entry | None:
        """The cache's entry of a model's weights: with their provenance, and the training's log."""
        return self.store.read(MODELS, ref.key)

    def cached_readout(self, ref: ModelRef, case: Case) -> StoredReadout | None:
        """The readout of a model on a case, if it is cached.

        Args:
            ref: an original, or a gold of the case.
            case: whose D_f and D_r the model was read out on.
        """
        entry = self.store.read(READOUTS, self.loaded.readout_key(ref, case))
        return StoredReadout(entry.content(READOUT), ref.label) if entry else None

    def model(self, ref: Trained) -> nn.Module:
        """A copy of a model, in eval mode on the device; must be cached.

        Args:
            ref: the model, or a log: then the original at the end of the log's training. It has
                other weights where another processor, GPU or torch trained the original.
        """
        model = self.loaded.fresh(0)
        model.load_state_dict(safetensors.torch.load(self._entry(ref).content(WEIGHTS)))
        return model.to(memory_format=torch.channels_last).eval()

    def training_log(self, ref: ModelRef) -> tuple[EpochLog, ...]:
        """The log of a model's training, one line per epoch; must be cached."""
        log: list[dict[str, Any]] = self._entry(ref).provenance["log"]
        return tuple(EpochLog(**line) for line in log)

    def missing_update_logs(
        self, cases: Sequence[Case], seeds: Collection[int] | None = None
    ) -> list[UpdateLogRef]:
        """The logs of updates that methods which ask for them need and that are not cached.

        Args:
            cases: that are to be measured.
            seeds: of the method's runs. None: any, so each original has a log.
        """
        loaded = self.loaded
        refs = {}
        for case in cases:
            starts = [loaded.original(case, seed) for seed in seeds or ()]
            for original in loaded.originals if seeds is None else starts:
                ref = loaded.update_log_ref(original)
                refs[ref.key] = ref
        return [ref for ref in refs.values() if self.update_log_entry(ref) is None]

    def update_log_entry(self, ref: UpdateLogRef) -> Entry | None:
        """The cache's entry of a log of updates, with its provenance."""
        return self.store.read(UPDATE_LOGS, ref.key)

    def update_log(self, ref: UpdateLogRef, case: Case) -> dict[str, Tensor]:
        """The summed updates of the steps that met D_f of a case; must be cached.

        Returns:
            Name of the parameter to float32 on the device, in the parameter's shape.
        """
        file = update_log_file(self.loaded.forget_sha256(case))
        updates = safetensors.torch.load(self._entry(ref).content(file))
        return {name: value.to(self.loaded.device) for name, value in updates.items()}

    def readout(self, ref: ModelRef, case: Case) -> StoredReadout:
        """The readout of a model on a case, made from the model's weights if it is not cached.

        A cache that is read-only does not keep what is made.

        Args:
            ref: an original, or a gold of the case.
            case: whose D_f and D_r the model is read out on.
        """
        assert ref.case in (None, case), "a gold is read out on its own case only"
        key = self.loaded.readout_key(ref, case)

        def read_out() -> Content:
            stored = StoredReadout.of(self.loaded.readout(self.model(ref), case), ref.label)
            data = self.loaded.task.data
            provenance = {
                "model": ref.identity,
                "seed": ref.seed,
                "case": case.id,
                "forget": self.loaded.forget_sha256(case),
                "data": data.name,
                "holdout_share": data.holdout_share,
            }
            return {READOUT: stored.content}, provenance

        try:
            entry = self.store.made(READOUTS, key, read_out, f"the readout of {ref.label}")
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            # A cache of all models is enough to measure, also where nothing can be kept.
            files, _ = read_out()
            return StoredReadout(files[READOUT], ref.label)
        return StoredReadout(entry.content(READOUT), ref.label)

    def readouts(self, case: Case) -> list[StoredReadout]:
        """The readouts of a case's golds, in the order of `LoadedTask.golds`."""
        return [self.readout(ref, case) for ref in self.loaded.golds(case)]

    def _entry(self, ref: Trained) -> Entry:
        if isinstance(ref, UpdateLogRef):
            entry = self.update_log_entry(ref)
        else:
            entry = self.model_entry(ref)
        assert entry, f"{ref.label} is not cached: mubench.gold.build comes first"
        return entry
