"""Originals and golds: what they are, trained once, kept by content key, audited.

The original is trained on D, a gold from a fresh initialisation on D_r with the same recipe. Either
is stored under the hash of everything that determines it, so a change of wording never retrains and
a change of recipe always does. Scoring needs a gold's readout only, and a method the original's
weights only.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from . import data, models, training
from .data import DataSet, Samples
from .errors import UserError
from .metrics import Readout, compact
from .records import parse_readout, readout_bytes, sha256_of
from .store import Store
from .suggest import did_you_mean
from .task import Case, TaskSpec, derive_seed, digest, spec_content
from .training import EpochLog, Pipeline, Step, TrainState

CHECKPOINT_SECONDS = 20  # least time between two checkpoints of a training
FIRST_GOLD_SEED = 1  # the original's seed is 0
CODE_VERSION = 1  # to be raised when the code would make other weights of the same identity


@dataclass(frozen=True)
class ModelRef:
    """An original or a gold of a task, trained or not."""

    seed: int
    case: Case | None  # None: the original
    identity: dict[str, Any]  # everything that determines the weights

    @property
    def key(self) -> str:
        """Hash of the identity."""
        return digest(self.identity)

    @property
    def label(self) -> str:
        """What to call it in a line of progress."""
        return f"gold {self.seed} of {self.case.id}" if self.case else "the original"


def identity(
    task: TaskSpec, data_fingerprint: str, forget_sha256: str | None, seed: int
) -> dict[str, Any]:
    """Everything that determines the weights of a gold, or with no D_f those of the original."""
    return {
        "code": CODE_VERSION,
        "data": data_fingerprint,
        "normalisation": [list(task.data.mean), list(task.data.std)],
        "model": spec_content(task.model),
        "recipe": spec_content(task.train),
        "forget": forget_sha256,
        "seed": seed,
    }


class LoadedTask:
    """A task with its data on a device: names its models and its sets."""

    def __init__(self, task: TaskSpec, device: torch.device):
        self.task = task
        self.device = device
        self.data: DataSet = data.load(task.data)
        holdout, test = data.split_held_out(self.data, task.data)
        self.train: Samples = self.data.train.to(device)
        self.holdout: Samples = holdout.to(device)
        self.test: Samples = test.to(device)
        self.pipeline = Pipeline(task.data, task.train, device)
        self.cases = task.cases(self.data.class_names)

    def case(self, case_id: str) -> Case:
        """A case by id.

        Raises:
            UserError: the task has no such case.
        """
        for case in self.cases:
            if case.id == case_id:
                return case
        ids = [case.id for case in self.cases]
        raise UserError(
            f"task {self.task.name} has no case {case_id!r}{did_you_mean(case_id, ids)} "
            f"It has {', '.join(ids)}."
        )

    def split(self, case: Case) -> tuple[Samples, Samples]:
        """D_f and D_r of a case, on the device; both in content order."""
        forget = torch.from_numpy(self.forget_indices(case))
        retained = torch.ones(len(self.train), dtype=torch.bool)
        retained[forget] = False
        retain = retained.nonzero().squeeze(1)
        return self.train[forget.to(self.device)], self.train[retain.to(self.device)]

    def forget_indices(self, case: Case) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Positions of D_f in the training set's content order."""
        return data.forget_indices(self.data, self.task, case)

    def forget_sha256(self, case: Case) -> str:
        """Identity of D_f by content."""
        return data.forget_sha256(self.data, self.forget_indices(case))

    def fresh(self, seed: int) -> nn.Module:
        """A newly initialised network on the device."""
        return models.build(
            self.task.model,
            num_classes=len(self.data.class_names),
            channels=self.train.images.shape[1],
            image_size=self.task.data.image_size,
            seed=seed,
        ).to(self.device)

    @cached_property
    def original(self) -> ModelRef:
        """The original, shared by all cases."""
        return self.ref(0, None)

    def golds(self, case: Case) -> tuple[ModelRef, ...]:
        """The golds of a case."""
        seeds = range(FIRST_GOLD_SEED, FIRST_GOLD_SEED + self.task.measure.golds)
        return tuple(self.ref(seed, case) for seed in seeds)

    def ref(self, seed: int, case: Case | None) -> ModelRef:
        """The model of a seed: trained without the case's D_f, or on all of D."""
        forget = self.forget_sha256(case) if case else None
        return ModelRef(seed, case, identity(self.task, self.data.fingerprint, forget, seed))

    def readout_key(self, ref: ModelRef) -> str:
        """Key of a gold's readout: the model and what it was read out on."""
        assert ref.case
        share = self.task.data.holdout_share
        return digest({"model": ref.identity, "name": self.task.data.name, "holdout_share": share})

    def readout(self, model: nn.Module, case: Case) -> Readout:
        """Runs a model over D_f, the scored test set and D_r, once each.

        D_r, ten times larger than the rest and good for one accuracy only, is run in the recipe's
        precision; all else in float32.

        Raises:
            mubench.training.Diverged: a logit on D_f or the test set is not finite.
        """
        forget, retain = self.split(case)
        forget_logits = training.predict(model, forget, self.pipeline)
        test_logits = training.predict(model, self.test, self.pipeline)
        precision = self.task.train.precision
        retain_logits = training.predict(model, retain, self.pipeline, precision=precision)
        for name, logits in (("forget", forget_logits), ("test", test_logits)):
            if not bool(logits.isfinite().all()):
                raise training.Diverged(f"the model's {name} logits are not all finite")
        return Readout(
            forget_logits_NK=forget_logits.cpu().numpy(),
            forget_labels_N=forget.labels.cpu().numpy(),
            test_logits_MK=compact(test_logits.cpu().numpy()),
            test_predictions_M=test_logits.argmax(1).cpu().numpy(),
            test_labels_M=self.test.labels.cpu().numpy(),
            retain_correct=int(retain_logits.argmax(1).eq(retain.labels).sum()),
            retain_total=len(retain),
        )


# ---- reading ------------------------------------------------------------------------------------


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


# ---- training -----------------------------------------------------------------------------------


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
    initial = _tensors(model)
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
            content = safetensors.torch.save(_contiguous(state.tensors))
            provenance = {"log": [asdict(x) for x in state.log], "seconds": spent + now - started}
            store.write("checkpoints", ref.key, {"state": content}, provenance)

    log = training.fit(
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
    weights = _tensors(model)
    provenance = {
        "identity": ref.identity,
        "case": ref.case.id if ref.case else None,
        "log": [asdict(line) for line in log],
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "device": loaded.device.type,
        "torch": torch.__version__,
        "audit": _audit(loaded, ref, samples, model, initial, weights),
    }
    content = safetensors.torch.save(weights)
    store.write("models", ref.key, {"weights.safetensors": content}, provenance)
    store.remove("checkpoints", ref.key)


def _audit(
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
        "initial_sha256": _tensors_sha(initial),
        "parameters": sum(1 for _ in model.named_parameters()),
        "parameters_left_as_initialised": [
            name
            for name, _ in model.named_parameters()
            if torch.equal(initial[name], weights[name])
        ],
    }


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return _contiguous({name: value.detach().cpu() for name, value in model.state_dict().items()})


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }


def _tensors_sha(tensors: dict[str, torch.Tensor]) -> str:
    return sha256_of(safetensors.torch.save(tensors))


def _parse_checkpoint(content: bytes, provenance: dict[str, Any]) -> TrainState:
    log = tuple(EpochLog(**line) for line in provenance["log"])
    return TrainState(safetensors.torch.load(content), log)


# ---- checking -----------------------------------------------------------------------------------


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
    initial = _tensors(loaded.fresh(derive_seed("initialise", ref.seed)))
    if _tensors_sha(initial) != audit["initial_sha256"]:
        defects.append(f"{ref.label}: did not start from the fresh initialisation of its seed")
    if ref.case:
        forget, _ = loaded.split(ref.case)
        logits = training.predict(load_weights(loaded, store, ref), forget, loaded.pipeline)
        stored = parse_readout(gold_readout(loaded, store, ref), ref.label)
        if not np.allclose(stored.forget_logits_NK, logits.cpu().numpy(), rtol=1e-3, atol=1e-3):
            defects.append(f"{ref.label}: its readout does not follow from its weights")
    return defects
