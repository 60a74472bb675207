"""A task with its data on a device: its sets, the names of its models, and reading a model out.

This is the secret half of the house: the scored test set lies here. No method ever sees a
`LoadedTask`.
"""

from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean
from mubench.record.readout import Readout, compact
from mubench.task import data
from mubench.task.data import DataSet, Samples
from mubench.task.spec import Case, Task
from mubench.training import ensemble, loop, networks
from mubench.training.loop import Pipeline
from mubench.training.networks import Architecture

from .identity import (
    FIRST_GOLD_SEED,
    UPDATE_LOG_VERSION,
    ModelRef,
    UpdateLogRef,
    identity,
    readout_key,
)


class LoadedTask:
    """A task with its data on a device.

    Attributes:
        task: the spec.
        device: where all tensors are.
        data: the data set in content order, on the CPU, with the hashes of its images.
        train: D, on the device.
        holdout: the held-out samples that methods may ask for. They are never scored.
        test: the scored test set. No method gets it.
        pipeline: how images of this task are augmented and normalised.
        architecture: the network of the original and of every gold.
        cases: the forget sets, in the order of the spec.
    """

    def __init__(self, task: Task, device: torch.device):
        """Loads the data of a task.

        Args:
            task: the spec.
            device: where the tensors go.

        Raises:
            UserError: the network cannot be built; or the data is not there, is broken, or has
                too few images for a forget set or for a shard.
        """
        networks.check(task.model, channels=len(task.data.mean), image_size=task.data.image_size)
        self.task = task
        self.device = device
        self.data: DataSet = data.load(task.data)
        holdout, test = data.split_held_out(self.data, task.data)
        self.train: Samples = self.data.train.to(device)
        self.holdout: Samples = holdout.to(device)
        self.test: Samples = test.to(device)
        self.pipeline = Pipeline(task.data, task.train, device)
        self.architecture = Architecture(
            spec=task.model,
            num_classes=len(self.data.class_names),
            channels=self.train.images.shape[1],
            image_size=task.data.image_size,
        )
        self.cases = task.cases(self.data.class_names)
        self._forget_sha256: dict[Case, str] = {}
        for case in (None, *self.cases):  # before hours of training
            if not all(self.shard_sizes(case)):
                left = f" without D_f of {case.id}" if case else ""
                raise UserError(
                    f"task {task.name}: a shard of D has no image{left}; lower model.shards"
                )

    def case(self, case_id: str) -> Case:
        """A case by its id.

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
        """D_f and D_r of a case, on the device, both in content order."""
        return data.split(self.train, torch.from_numpy(self.forget_indices(case)))

    def forget_indices(self, case: Case) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rising positions of D_f in D, (N,)."""
        return data.forget_indices(self.data, self.task, case)

    def forget_sha256(self, case: Case) -> str:
        """Identity of D_f by content."""
        if case not in self._forget_sha256:
            indices = self.forget_indices(case)
            self._forget_sha256[case] = data.forget_sha256(self.data, indices)
        return self._forget_sha256[case]

    def fresh(self, seed: int) -> nn.Module:
        """A newly initialised network on the device, in train mode."""
        return self.architecture.fresh(seed, self.device)

    @cached_property
    def originals(self) -> tuple[ModelRef, ...]:
        """The originals, shared by all cases."""
        return tuple(self.ref(seed, None) for seed in range(self.task.measure.originals))

    def original(self, case: Case, seed: int) -> ModelRef:
        """The original that a cell starts from.

        Args:
            case: of the cell.
            seed: of the method's run.
        """
        return self.originals[self.task.original_seed(self.cases.index(case), seed)]

    def golds(self, case: Case) -> tuple[ModelRef, ...]:
        """The golds of a case."""
        seeds = range(FIRST_GOLD_SEED, FIRST_GOLD_SEED + self.task.measure.golds)
        return tuple(self.ref(seed, case) for seed in seeds)

    def ref(self, seed: int, case: Case | None) -> ModelRef:
        """The model that a seed names.

        Args:
            seed: of the training.
            case: the model is trained without this D_f. None: the model is trained on all of D.
        """
        forget = self.forget_sha256(case) if case else None
        return ModelRef(seed, case, identity(self.task, self.data.fingerprint, forget, seed))

    def update_log_ref(self, original: ModelRef) -> UpdateLogRef:
        """The log of the steps of an original's training that met D_f, for each case."""
        content = {
            "version": UPDATE_LOG_VERSION,
            "original": original.identity,
            "forget": [self.forget_sha256(case) for case in self.cases],
        }
        return UpdateLogRef(original, content)

    def readout_key(self, ref: ModelRef, case: Case) -> str:
        """Key of a model's readout on a case: the model, and what the model was read out on."""
        spec = self.task.data
        forget = self.forget_sha256(case)
        return readout_key(ref.identity, spec.name, spec.holdout_share, forget)

    @cached_property
    def _shard_numbers(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The shard of each sample of D, (N,)."""
        if (shards := self.task.model.shards) is None:
            return np.zeros(len(self.train), dtype=np.int64)
        return data.shard_numbers(self.data.train.images, shards)

    def shard_sizes(self, case: Case | None = None) -> list[int]:
        """Samples of each shard of D_r, or of D if no case is given. One network has one shard."""
        kept_N = self._shard_numbers
        if case:
            kept_N = np.delete(kept_N, self.forget_indices(case))
        return [int(n) for n in np.bincount(kept_N, minlength=self.task.model.shards or 1)]

    def retrain_steps(self, case: Case | None = None) -> int:
        """Steps of a whole training on D_r of a case, or on D if no case is given."""
        recipe = self.task.train
        steps = [loop.num_batches(size, recipe.batch_size) for size in self.shard_sizes(case)]
        return sum(steps) * recipe.epochs

    def time_steps(self) -> list[float]:
        """Seconds of each of a few training steps, timed now on this device.

        A step of an ensemble trains one member.
        """
        network = ensemble.members(self.fresh(0))[0]
        return loop.step_seconds(network, self.train, self.task.train, self.pipeline)

    def retrain_seconds(self, step_seconds: list[float], case: Case | None = None) -> float:
        """Seconds of a whole training, extrapolated from a few steps.

        Args:
            step_seconds: as `time_steps` gives them.
            case: the training is on D_r of this case. None: on D.
        """
        return median(step_seconds) * self.retrain_steps(case)

    def readout(self, model: nn.Module, case: Case) -> Readout:
        """Runs a model over D_f, the scored test set and D_r, once each.

        D_r is ten times larger than the rest and good for one accuracy only, so it runs in the
        recipe's precision. All else runs in float32.

        Args:
            model: in eval mode, on the device.
            case: whose D_f and D_r.

        Raises:
            mubench.training.loop.Diverged: a logit on D_f or the test set is not finite.
        """
        forget, retain = self.split(case)
        forget_logits = loop.predict(model, forget, self.pipeline)
        test_logits = loop.predict(model, self.test, self.pipeline)
        precision = self.task.train.precision
        retain_logits = loop.predict(model, retain, self.pipeline, precision=precision)
        for name, logits in (("forget", forget_logits), ("test", test_logits)):
            if not bool(logits.isfinite().all()):
                raise loop.Diverged(f"the model's {name} logits are not all finite")
        return Readout(
            forget_logits_NK=forget_logits.cpu().numpy(),
            forget_labels_N=forget.labels.cpu().numpy(),
            test_logits_MK=compact(test_logits.cpu().numpy()),
            test_predictions_M=test_logits.argmax(1).cpu().numpy(),
            test_labels_M=self.test.labels.cpu().numpy(),
            retain_correct=int(retain_logits.argmax(1).eq(retain.labels).sum()),
            retain_total=len(retain),
        )


_last_loaded: LoadedTask | None = None


def load_once(task: Task, device: torch.device) -> LoadedTask:
    """A task with its data, read once by a worker that goes on with the same task.

    Args:
        task: the spec.
        device: where the tensors go.
    """
    global _last_loaded
    if not _last_loaded or (_last_loaded.task, _last_loaded.device) != (task, device):
        _last_loaded = None  # otherwise both would be in the device's memory at once
        _last_loaded = LoadedTask(task, device)
    return _last_loaded
