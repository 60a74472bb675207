"""Reading a model out on the union of a task's forget sets.

A gold of one case was trained on the forget set of every other case. So on each sample of the union
there are golds that were trained with the sample, and golds that were not. What the two kinds say
is all that a per-sample audit needs: see `mubench.gold.lira`.

A union readout lies in the cache beside the model's own readout, under a key of its own. Models
that were imported without weights have none.
"""

import io

import numpy as np
import torch

from mubench._util.arrays import Bools, Ints, Logits
from mubench._util.cache import Content
from mubench._util.hashing import digest
from mubench.record.readout import compact
from mubench.task import data
from mubench.training import loop

from .identity import ModelRef
from .library import GoldLibrary
from .loaded import LoadedTask

UNIONS, UNION = "unions", "union.npy"
"""The kind of such an entry in the cache, and its file."""


def union_indices(loaded: LoadedTask) -> Ints:
    """Rising positions in D of the samples of any forget set, (U,)."""
    return np.unique(np.concatenate([loaded.forget_indices(case) for case in loaded.cases]))


def union_labels(loaded: LoadedTask) -> Ints:
    """Classes of the union's samples, (U,)."""
    labels_U: Ints = loaded.data.train.labels.numpy()[union_indices(loaded)]
    return labels_U


def trained_on(loaded: LoadedTask, ref: ModelRef) -> Bools:
    """True where a model was trained on a sample of the union, (U,)."""
    indices_U = union_indices(loaded)
    if ref.case is None:
        return np.ones(len(indices_U), bool)
    return ~np.isin(indices_U, loaded.forget_indices(ref.case))


def union_logits(library: GoldLibrary, ref: ModelRef) -> Logits | None:
    """A model's logits on the union, float16 (U, K), read out now if that was not done before.

    Returns:
        None if neither the logits nor the model's weights are cached.

    Raises:
        mubench.training.loop.Diverged: a logit is not finite.
    """
    loaded, store = library.loaded, library.store
    indices_U = union_indices(loaded)
    union_sha256 = data.forget_sha256(loaded.data, indices_U)
    key = digest({"model": ref.identity, "union": union_sha256})
    if entry := store.read(UNIONS, key):
        return _parse(entry.content(UNION))
    if library.model_entry(ref) is None:
        return None

    def read_out() -> Content:
        samples = loaded.train[torch.from_numpy(indices_U)]
        logits_UK = loop.predict(library.model(ref), samples, loaded.pipeline)
        if not bool(logits_UK.isfinite().all()):
            raise loop.Diverged("the model's logits on the forget sets are not all finite")
        buffer = io.BytesIO()
        np.save(buffer, compact(logits_UK.cpu().numpy()))
        provenance = {"model": ref.identity, "union": union_sha256, "samples": len(indices_U)}
        return {UNION: buffer.getvalue()}, provenance

    entry = store.made(UNIONS, key, read_out, f"the union readout of {ref.label}")
    return _parse(entry.content(UNION))


def _parse(content: bytes) -> Logits:
    logits_UK: Logits = np.load(io.BytesIO(content), allow_pickle=False)
    return logits_UK
