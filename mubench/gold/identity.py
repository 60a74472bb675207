"""What a model of a task is: everything that determines its weights."""

from dataclasses import dataclass
from typing import Any

from mubench._util.hashing import digest
from mubench.task.spec import Case, TaskSpec, spec_content

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
