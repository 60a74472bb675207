"""The identity of an original or a gold: everything that determines its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mubench._util.hashing import derive_seed, digest
from mubench.task.spec import Case, Task, spec_content

FIRST_GOLD_SEED = 1  # because the first original has seed 0
CODE_VERSION = 1  # raise it when the code would make other weights from the same identity
UPDATE_LOG_VERSION = 3  # raise it when the code would log other updates of the same training


@dataclass(frozen=True)
class ModelRef:
    """An original or a gold of a task, trained or not."""

    seed: int  # seed of the training
    case: Case | None  # the model is trained without this D_f; None: the original
    identity: dict[str, Any]  # everything that determines the weights, as JSON values

    @property
    def key(self) -> str:
        """The model's name in the cache: the hash of the identity."""
        return digest(self.identity)

    @property
    def label(self) -> str:
        """What to call the model in a line."""
        return f"gold {self.seed} of {self.case.id}" if self.case else f"original {self.seed}"

    def seed_for(self, purpose: str) -> int:
        """Seed of one part of the training, such as `initialise`.

        A later original must not begin as the gold of the same seed does. Otherwise the two would
        be more alike than two models of unrelated seeds.
        """
        if self.case is None and self.seed:
            return derive_seed("original", purpose, self.seed)
        return derive_seed(purpose, self.seed)


@dataclass(frozen=True)
class UpdateLogRef:
    """What the steps of an original's training that met a task's D_f have changed, logged or not.

    One training logs for all cases of the task, each by itself.
    """

    original: ModelRef
    identity: dict[str, Any]  # everything that determines the log, as JSON values

    @property
    def key(self) -> str:
        """The log's name in the cache: the hash of the identity."""
        return digest(self.identity)

    @property
    def seed(self) -> int:
        """Seed of the original's training."""
        return self.original.seed

    @property
    def label(self) -> str:
        """What to call the training that makes the log in a line."""
        return f"{self.original.label} with its log"


Trained = ModelRef | UpdateLogRef
"""What a training makes."""


def readout_key(
    model: Mapping[str, Any], data_name: str, holdout_share: float, forget_sha256: str | None
) -> str:
    """Key of a model's readout: the model, and what the model was read out on.

    Args:
        model: the model's identity.
        data_name: the name of the data set, which keys the cut of the held-out images.
        holdout_share: the share of the held-out images that is not scored.
        forget_sha256: identity of the D_f that an original was read out on. A gold is read out on
            the D_f that it was trained without, which the gold's identity names.
    """
    content = {"model": model, "name": data_name, "holdout_share": holdout_share}
    if model["forget"] is None:
        content["forget"] = forget_sha256
    return digest(content)


def identity(
    task: Task, data_fingerprint: str, forget_sha256: str | None, seed: int
) -> dict[str, Any]:
    """Everything that determines the weights of a model, as JSON values.

    Args:
        task: the spec.
        data_fingerprint: SHA-256 of the data set's content.
        forget_sha256: identity of D_f. None: the model is the original.
        seed: seed of the training.
    """
    return {
        "code": CODE_VERSION,
        "data": data_fingerprint,
        "normalisation": [list(task.data.mean), list(task.data.std)],
        "model": spec_content(task.model),
        "recipe": spec_content(task.train),
        "forget": forget_sha256,
        "seed": seed,
    }
