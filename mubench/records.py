"""Records and readouts on disk.

A record is one immutable JSON file: one (task, case, method, parameters, seed) measured. Beside it
lies its readout, from which every metric in it follows. Layout under a results folder:

    <task name>/<method>/<case>-seed<k>-<parameters>.json and .npz
    <task name>/golds/<key>.npz, the readouts of the golds that the records were scored against

Nothing here imports torch.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import DoesNotHold
from .metrics import Readout
from .store import write_atomic
from .task import digest

Status = Literal["ok", "error", "diverged", "timeout"]
STATUSES: tuple[Status, ...] = get_args(Status)


ARRAYS = {
    "forget_logits": (2, "f"), "forget_labels": (1, "iu"), "test_logits": (2, "f"),
    "test_predictions": (1, "iu"), "test_labels": (1, "iu"), "retain": (1, "iu"),
}  # fmt: skip
"""The arrays of a readout: how many axes each has, and numpy's letters for its kinds of numbers."""


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


def readout_bytes(readout: Readout) -> bytes:
    """A readout as a compressed npz, the same bytes for the same numbers."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        forget_logits=readout.forget_logits_NK.astype(np.float32),
        forget_labels=readout.forget_labels_N.astype(np.int16),
        test_logits=readout.test_logits_MK.astype(np.float16),
        test_predictions=readout.test_predictions_M.astype(np.int16),
        test_labels=readout.test_labels_M.astype(np.int16),
        retain=np.array([readout.retain_correct, readout.retain_total], np.int64),
    )
    return buffer.getvalue()


def parse_readout(content: bytes, source: str) -> Readout:
    """The readout in an npz.

    Raises:
        DoesNotHold: it is not one; the message names `source`.
    """
    try:
        arrays = _load(content)
        return Readout(
            forget_logits_NK=arrays["forget_logits"],
            forget_labels_N=arrays["forget_labels"].astype(np.int64),
            test_logits_MK=arrays["test_logits"],
            test_predictions_M=arrays["test_predictions"].astype(np.int64),
            test_labels_M=arrays["test_labels"].astype(np.int64),
            retain_correct=int(arrays["retain"][0]),
            retain_total=int(arrays["retain"][1]),
        )
    except DoesNotHold as error:
        raise DoesNotHold(f"{source} is not a readout: {error}") from None


def _load(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz that has those of a readout, each with its number of axes."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DoesNotHold(str(error)) from None
    check_arrays(arrays, ARRAYS)
    return arrays


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], wanted: Iterable[str]) -> None:
    """Whether the arrays of a readout are there, each with its number of axes and kind of numbers.

    Raises:
        DoesNotHold: one is not.
    """
    for name in wanted:
        axes, kinds = ARRAYS[name]
        if name not in arrays:
            raise DoesNotHold(f"it has no array {name}")
        if arrays[name].ndim != axes or arrays[name].dtype.kind not in kinds:
            raise DoesNotHold(f"its {name} are {arrays[name].dtype} with {arrays[name].ndim} axes")
    if arrays["retain"].shape != (2,):
        raise DoesNotHold("its retain counts are not two")


def sha256_of(content: bytes) -> str:
    """Hex SHA-256."""
    return sha256(content).hexdigest()


def record_file(record: Record) -> str:
    """Name of a record under a results folder, with slashes."""
    return f"{record.task.partition('@')[0]}/{record.method}/{record.stem}.json"


def record_path(results: Path, record: Record) -> Path:
    """Where a record lies under a results folder."""
    return results / record_file(record)


def gold_path(results: Path, record: Record, gold: GoldReference) -> Path:
    """Where the readout of a gold lies under a results folder."""
    return results / record.task.partition("@")[0] / "golds" / f"{gold.key[:16]}.npz"


def write_record(results: Path, record: Record, readout: bytes | None) -> Path:
    """Writes a record, its readout first, so that a record is never without.

    Returns:
        The JSON file.
    """
    path = record_path(results, record)
    if readout is not None:
        write_atomic(path.with_suffix(".npz"), readout)
    write_atomic(path, (record.model_dump_json(indent=1) + "\n").encode())
    if readout is None:
        path.with_suffix(".npz").unlink(missing_ok=True)
    return path


def read_record(path: Path) -> Record:
    """Reads one record.

    Raises:
        DoesNotHold: the file is not a record; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DoesNotHold(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise DoesNotHold(f"{path.name} is not a record: {reason}") from None
