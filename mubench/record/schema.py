"""Records: what one measurement was of, and what came of it, as one immutable JSON file.

A record has two parts. The head says of what, by which code and where it was measured. The outcome
says what came of it. Two measurements are the same when their heads are equal, so a new field of
the head is part of that identity.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mubench._util.hashing import digest
from mubench._util.messages import one_line
from mubench.task.spec import Sha256, Share

Status = Literal["ok", "error", "diverged", "timeout"]

Isolation = Literal["process", "namespaces"]
"""What walls a method in: a process of its own, or also files, users and a network of its own."""

Samples = Annotated[int, Ge(0), Le(10**15)]
"""A count of samples. The bound keeps a forged count from overflowing."""
PART_NAME = "[a-z][a-z -]{0,30}"
"""What a part of a method may be called."""
Parts = Annotated[
    dict[Annotated[str, StringConstraints(pattern=f"^{PART_NAME}$")], Samples], Len(1, 20)
]
"""Passes of a sample in each part of a method, where a backward pass counts two."""
Seconds = Annotated[float, Ge(0), Le(1e10)]
"""A duration of at most three centuries. The bound keeps shares of durations finite."""
Bytes = Annotated[int, Ge(0), Le(10**18)]
"""An amount of memory."""
Operations = Annotated[int, Ge(0), Le(10**24)]
"""A count of floating-point operations."""


def _with_digest(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters that have an id: a number that is not finite has none, and raises ValueError."""
    digest(parameters)
    return parameters


def dotted(parameters: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Nested parameters under dotted names.

    Args:
        parameters: as a record has them.
        group: the dotted name before each parameter's own, with a dot at its end.
    """
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{group}{name}.")
        else:
            flat[group + name] = value
    return flat


PresetName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$", max_length=40)]
"""Name of a preset, such as `paper`. Empty: none."""

UNSEEN_SHARE = 0.2
"""Share of a cost that only operations show, from which a record is flagged."""

UNSEEN_EPOCHS = 0.01
"""Passes over D that only operations show, below which no record is flagged."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Part):
    """A measured number and the count behind it."""

    value: float
    """Unrounded. A fraction or a distance; `delta` and `delta_signed` in percentage points."""
    count: int
    """Samples behind the value; for a mean over golds, the samples of each gold. In a floor:
    ordered pairs of golds."""
    stderr: float | None = None
    """Standard error over the samples, in the unit of the value, paired where two models are
    compared. It does not cover the spread between seeds. None where the value is no mean over
    samples."""


class GoldReference(_Part):
    """A gold that a record was scored against."""

    key: Sha256
    """Hash of everything that determines the gold's weights."""
    seed: int
    """Seed of the gold's training."""
    readout_sha256: str
    """SHA-256 of the gold's readout as it lies beside the records."""


class Audit(_Part):
    """What a likelihood-ratio attack learns of a model, sample by sample: see `record.audit`.

    The attack holds the model's answers on D_f against those of golds. Members are samples of D_f
    as the model answers. Non-members are the same samples as golds answer that never saw them.
    """

    auroc: Share
    """Area under the ROC curve on the case, as a fraction. Retraining has 0.5."""
    tpr_at_1pct_fpr: Share
    """Share of the members that are found, as a fraction. The threshold calls 1% of the
    non-members of all cases members."""
    members: Annotated[int, Ge(1)]
    """Samples of D_f."""
    nonmembers: Annotated[int, Ge(1)]
    """Answers of golds on D_f that the AUROC rests on: samples times golds of the case."""
    threshold_nonmembers: Annotated[int, Ge(1)]
    """The same over all cases of the task, which the threshold rests on."""
    models: Annotated[int, Ge(1)]
    """Golds of all cases of the task: the attack's shadow models."""
    shadows_sha256: Sha256
    """SHA-256 of the file of the shadow models beside the records."""


class Usage(_Part):
    """What a run of a method used, as counted and timed by the harness."""

    seconds: float = 0.0
    """Wall-clock seconds, with the device synchronised before and after.

    In a process of its own: from the import of the method until its weights have arrived. In the
    harness's own: around `unlearn()` alone."""
    forward_samples: Samples = 0
    """Samples that passed forward through any network of the problem."""
    backward_samples: Samples = 0
    """Samples that passed backward, once per backward pass."""
    peak_memory_bytes: Bytes = 0
    """Most memory in use: of the device's allocator on CUDA, of the whole process on the CPU."""
    operations: Operations | None = None
    """Floating-point operations of all convolutions and matrix products. None in older records."""
    unseen_forward_samples: Samples | None = None
    """Samples among the forward ones that only the operations show: no network of the problem took
    them in. None in older records."""
    unseen_backward_samples: Samples | None = None
    """The same of the backward ones."""
    parts: Parts | None = None
    """What went into each part that the method names. None: it names none."""


class Cost(_Part):
    """What unlearning took, beside what retraining takes."""

    seconds: Seconds
    """As in `Usage`."""
    retrain_seconds: Annotated[Seconds, Ge(1e-6)]
    """Seconds of the whole recipe on this device with these threads.

    The harness extrapolates them from training steps timed just before and just after the
    method."""
    epochs_equivalent: Annotated[float, Ge(0)]
    """(forward samples + 2 x backward samples) / 3 |D|, which compares across machines."""
    retrain_epochs_equivalent: Annotated[float, Ge(0)]
    """The same measure for retraining on D_r."""
    forward_samples: Samples
    """As in `Usage`."""
    backward_samples: Samples
    """As in `Usage`."""
    peak_memory_bytes: Bytes
    """As in `Usage`."""
    operations: Operations | None = None
    """As in `Usage`."""
    unseen_forward_samples: Samples | None = None
    """As in `Usage`."""
    unseen_backward_samples: Samples | None = None
    """As in `Usage`."""
    parts: Parts | None = None
    """As in `Usage`."""
    exclusive_device: bool | None = None
    """True if the run had its device to itself: a GPU, or a core for each of its threads.

    Only then are its seconds to be compared with those of other records. None: nobody says."""

    @classmethod
    def of(
        cls,
        usage: Usage,
        *,
        retrain_seconds: float,
        exclusive_device: bool | None = None,
        epochs: int,
        num_forget: int,
        num_retain: int,
    ) -> Self:
        """The cost of a run.

        Args:
            usage: what the run used.
            retrain_seconds: seconds that retraining takes here.
            exclusive_device: True if the run had its device to itself. None: nobody says.
            epochs: passes of the original's recipe.
            num_forget: samples in D_f.
            num_retain: samples in D_r.
        """
        num_train = num_forget + num_retain
        return cls(
            **usage.model_dump(),
            retrain_seconds=retrain_seconds,
            exclusive_device=exclusive_device,
            epochs_equivalent=epochs_equivalent(
                usage.forward_samples, usage.backward_samples, num_train
            ),
            retrain_epochs_equivalent=retrain_epochs_equivalent(epochs, num_retain, num_train),
        )

    def is_over(self, budget: float) -> bool:
        """True if the method spent more than its budget, a share of the cost of retraining."""
        return self.epochs_equivalent > budget * self.retrain_epochs_equivalent

    def is_uncounted(self) -> bool:
        """True if the samples do not fit the operations: a fifth or more only the latter show.

        A hundredth of a pass over D may always be so, for products of matrices that are no network.
        """
        unseen = (self.unseen_forward_samples or 0) + 2 * (self.unseen_backward_samples or 0)
        total = self.forward_samples + 2 * self.backward_samples
        share = unseen / total if total else 0.0
        return share >= UNSEEN_SHARE and share * self.epochs_equivalent >= UNSEEN_EPOCHS


def epochs_equivalent(forward_samples: int, backward_samples: int, num_train: int) -> float:
    """Cost in passes over D, where a forward pass counts a third of forward and backward.

    Args:
        forward_samples: samples that passed forward.
        backward_samples: samples that passed backward.
        num_train: |D|.
    """
    return (forward_samples + 2 * backward_samples) / (3 * num_train)


def retrain_epochs_equivalent(epochs: int, num_retain: int, num_train: int) -> float:
    """Cost of retraining on D_r in passes over D.

    Args:
        epochs: passes of the recipe over D_r.
        num_retain: |D_r|.
        num_train: |D|.
    """
    return epochs * num_retain / num_train


UPDATE_LOG = "update_log"
"""Access to what the original's training steps that met D_f have changed, summed."""


class RecordHead(_Part):
    """The identity of a measurement: of what, by which code and where a cell is measured."""

    schema_version: Literal[1] = 1
    task: str
    """`name@version`."""
    spec_sha: str
    """SHA-256 of the task's spec without its prose."""
    data_fingerprint: str
    """SHA-256 of the data set's content."""
    case: str
    """Id of the forget set, such as `cat-100`."""
    forget_sha256: str
    """Identity of D_f by content."""
    original_seed: Annotated[int, Ge(0)] = 0
    """Seed of the original that the method started from: see `Task.original_seed`."""
    original_key: str | None = None
    """Hash of everything that determines the original's weights. None in records from before tasks
    had several originals."""
    method: str
    """Name of the method."""
    distribution: str | None
    """The package that the method came in. None: a file or module of the user's."""
    distribution_version: str | None
    """The version of that package."""
    source_sha256: str
    """SHA-256 of the method's source file and of those of its distribution that it imports."""
    harness_sha256: str
    """SHA-256 of the harness's files that take part in measuring."""
    requires: tuple[str, ...]
    """The access that the method declared; touching anything else would have raised."""
    control: bool
    """True for a control, which is listed and never ranked."""
    parameters: Annotated[dict[str, Any], AfterValidator(_with_digest)]
    """All parameters of the method, defaults included."""
    preset: PresetName = ""
    """Name of the preset that the parameters are of. Empty: they are of none, or of the defaults,
    or the record is older than this field."""
    tuning_epochs: Annotated[float, Ge(0), Le(1e9)] | None = None
    """What the search for a tuned preset cost, in epochs-equivalent. None: nothing was tuned."""
    changed: tuple[str, ...] | None = None
    """Dotted names of the parameters that are not at their defaults. None in older records."""
    seed: int
    """Seed of the run."""
    isolated: bool = False
    """True if the method ran in a process of its own, golds and scored data out of its reach."""
    budget: float
    """Most that a method may spend, as a share of the cost of retraining."""
    device: str
    """The maker's name of the GPU or of the processor."""
    threads: Annotated[int, Ge(1), Le(10**5)]
    """Threads of the CPU that the method had."""
    precision: str
    """The precision in which the recipe trains. Scoring is always float32."""
    versions: dict[str, str]
    """Python and the packages that take part: name to version."""

    @property
    def parameters_id(self) -> str:
        """The parameters in eight letters, as in the names of files."""
        return digest(self.parameters)[:8]

    @property
    def stem(self) -> str:
        """File name of the record and of its readout, without suffix."""
        return f"{self.case}-seed{self.seed}-{self.parameters_id}"

    @property
    def code(self) -> tuple[str | None, str | None, str]:
        """The method's distribution, its version, and the SHA-256 of the method's source."""
        return self.distribution, self.distribution_version, self.source_sha256


class Record(RecordHead):
    """One (task, case, method, parameters, seed) measured: a head and what came of it."""

    status: Status
    """`ok`, or how the run failed."""
    error: Annotated[str, AfterValidator(one_line)] | None = None
    """What happened, in a line, for a status other than `ok`."""
    isolation: Isolation | None = None
    """What walled the method in. None: nothing did, or the record is older than this field."""
    metrics: dict[str, Metric] = {}
    """Every metric of the unlearned model; empty for a run that failed."""
    floor: dict[str, Metric] = {}
    """The golds scored against each other; empty when the task has a single gold."""
    nothing: dict[str, Metric] = {}
    """The original that the method started from, scored as if it were a method."""
    nothing_readout_sha256: Sha256 | None = None
    """SHA-256 of that original's readout as it lies beside the records."""
    golds: tuple[GoldReference, ...] = ()
    """The golds that the metrics are against."""
    readout_sha256: str | None = None
    """SHA-256 of the readout beside the record."""
    reports: dict[str, list[float] | list[bool]] = {}
    """Predictions that the method handed in, one per sample of D_f."""
    cost: Cost | None = None
    """What the run took."""
    flags: tuple[str, ...] = ()
    """What a reader must know before believing the record: see `mubench.record.flags`."""
    audit: Audit | None = None
    """What a likelihood-ratio attack learns of the model. None: `mubench gold audit --write` has
    not been asked, as this needs all golds of the task."""
    git_revision: str | None
    """Revision of the checkout that the harness ran from."""
    started_at: str
    """UTC, ISO 8601."""

    @classmethod
    def of(cls, head: RecordHead, **outcome: Any) -> Self:
        """A record of this head with these fields of an outcome."""
        return cls(**{name: getattr(head, name) for name in RecordHead.model_fields}, **outcome)

    @property
    def head(self) -> RecordHead:
        """The head alone: equal heads are the same measurement."""
        return RecordHead(**{name: getattr(self, name) for name in RecordHead.model_fields})
