"""Records and readouts on disk.

A record is one immutable JSON file: one (task, case, method, parameters, seed) measured. Beside it
lies its readout, from which every metric in it follows. Layout under a results folder:

    <task name>/<method>/<case>-seed<k>-<parameters>.json and .npz
    <task name>/golds/<key>.npz, the readouts of the golds that the records were scored against

Nothing here imports torch.
"""

from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict

from mubench._util.hashing import digest

Status = Literal["ok", "error", "diverged", "timeout"]
STATUSES: tuple[Status, ...] = get_args(Status)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Part):
    """A measured number and the count behind it."""

    value: float
    """Unrounded. Fractions; `delta` and `delta_signed` in percentage points."""
    count: int
    """Samples, or for a mean over golds the samples of each."""
    stderr: float | None = None
    """Standard error over the samples, paired where two models are compared."""


class GoldReference(_Part):
    """A gold that a record was scored against."""

    key: str
    """Hash of everything that determines the gold."""
    seed: int
    readout_sha256: str


class Cost(_Part):
    """What unlearning took."""

    seconds: float
    """The runner's clock around `unlearn()` alone, the device synchronised before and after."""
    retrain_seconds: float
    """The whole recipe on this device with these threads, extrapolated from steps timed just before
    and just after the method ran."""
    epochs_equivalent: float
    """(forward samples + 2 x backward samples) / 3 |D|: comparable across machines."""
    retrain_epochs_equivalent: float
    """The same for retraining."""
    forward_samples: int
    backward_samples: int
    peak_memory_bytes: int
    """Of the device's allocator on CUDA, of the whole process on the CPU."""


class Record(_Part):
    """One (task, case, method, parameters, seed) measured."""

    schema_version: Literal[1] = 1
    task: str
    """`name@version`."""
    spec_sha: str
    data_fingerprint: str
    case: str
    forget_sha256: str
    """Identity of D_f by content."""
    method: str
    distribution: str | None
    """The package the method came in; None: a file or module of the user's."""
    distribution_version: str | None
    source_sha256: str
    """Of the method's source file, and of those of its distribution that it imports."""
    harness_sha256: str
    """Of the harness's files that take part in measuring: other code, another measurement."""
    requires: tuple[str, ...]
    """The access it declared; anything else would have raised."""
    control: bool
    """Controls are listed and never ranked."""
    parameters: dict[str, Any]
    """All of them, defaults included."""
    seed: int
    status: Status
    isolated: bool = False
    """Whether it ran in a process of its own, golds and scored data out of its reach."""
    error: str | None = None
    """For another status than `ok`: what happened, in a line."""
    metrics: dict[str, Metric] = {}
    floor: dict[str, Metric] = {}
    """The golds scored against each other; empty when the task has a single gold."""
    golds: tuple[GoldReference, ...] = ()
    readout_sha256: str | None = None
    reports: dict[str, list[float] | list[bool]] = {}
    """Predictions per sample of D_f that the method handed in."""
    cost: Cost | None = None
    budget: float
    """Most a method may spend, as a share of the retraining cost."""
    flags: tuple[str, ...] = ()
    """What a reader must know: `over-budget`, `no-op`, ..."""
    device: str
    threads: Annotated[int, Ge(1)]
    precision: str
    """In which the recipe trains; scoring is always float32."""
    versions: dict[str, str]
    git_revision: str | None
    started_at: str
    """UTC, ISO 8601."""

    @property
    def stem(self) -> str:
        """File name of the record and its readout, without suffix."""
        return f"{self.case}-seed{self.seed}-{digest(self.parameters)[:8]}"

    def measures_the_same_as(self, other: "Record") -> bool:
        """Whether measuring again would give the same numbers: same inputs, code and device."""
        ignored = {
            "metrics", "floor", "readout_sha256", "reports", "cost", "flags", "started_at",
            "status", "error", "golds", "git_revision",
        }  # fmt: skip
        mine, its = self.model_dump(exclude=ignored), other.model_dump(exclude=ignored)
        return mine == its


def epochs_equivalent(forward_samples: int, backward_samples: int, num_train: int) -> float:
    """Cost in passes over D: a forward pass is a third of forward and backward."""
    return (forward_samples + 2 * backward_samples) / (3 * num_train)
