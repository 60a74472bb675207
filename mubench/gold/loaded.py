"""A task with its data on a device."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.messages import did_you_mean
from mubench.record.readout import Readout, compact
from mubench.task import data
from mubench.task.data import DataSet, Samples
from mubench.task.spec import Case, TaskSpec
from mubench.training import loop, networks
from mubench.training.loop import Pipeline

from .identity import FIRST_GOLD_SEED, ModelRef, identity


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
        return networks.build(
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


def load_once(task: TaskSpec, device: torch.device) -> LoadedTask:
    """A task with its data; a worker that goes on with the same task does not read it again."""
    global _last_loaded
    if not _last_loaded or (_last_loaded.task, _last_loaded.device) != (task, device):
        _last_loaded = LoadedTask(task, device)
    return _last_loaded
