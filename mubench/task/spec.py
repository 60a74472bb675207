"""Task specs: the schema of the TOML files in `tasks/`, a task's identity and its cases.

A task fixes the data, the architecture, the training recipe, the forget sets, the number of golds
and the budget. A gold is a model retrained without the forget set. The file is read into frozen
pydantic models that forbid unknown keys, so all mistakes in a file are reported at once, each with
its path. What no training could make sense of is a mistake too, such as a milestone after the last
epoch. Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.messages import did_you_mean
from mubench._util.toml import parse_toml

from . import architectures

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
"""A name that is a folder's too."""
ClassName = Annotated[str, StringConstraints(pattern=r"^[^/\\\x00-\x1f\x7f]+$", max_length=100)]
"""A name that is a part of a file's: no slash in it, and no character that cannot be seen."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Interval(ge=0, le=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SHAPES: dict[str, tuple[set[int], int | None]] = {
    "cifar10": ({3}, 32),
    "cifar100": ({3}, 32),
    "digits": ({1}, 8),
    "folder": ({1, 3}, None),
    "synthetic": ({3}, None),
}
"""Channels that images of each kind can have, and their pixels on a side if these are fixed."""


class DataSpec(_Spec):
    """The images of a task, how they are split, and the hash that they must have."""

    name: Slug
    """Part of the key of every split. So tasks on the same data share forget sets and golds."""
    kind: Literal["cifar10", "cifar100", "digits", "folder", "synthetic"]
    """The source of the images; `folder` reads `MUBENCH_DATA/<name>`."""
    image_size: Annotated[int, Interval(ge=4, le=2048)]
    """Pixels on a side. Images of a folder are resized to this size; other kinds must have it."""
    mean: Annotated[tuple[float, ...], MinLen(1)]
    """Mean per channel, of pixels scaled to [0, 1]. Constant, so that no statistic of D_f leaks."""
    std: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """Standard deviation per channel, of pixels scaled to [0, 1]."""
    fingerprint: Sha256 | None = None
    """Required fingerprint of the data. None: each user brings other data; records state which."""
    holdout_share: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    """Fraction of the held-out images that methods may request; the rest is scored."""
    test_share: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Fraction of the images to hold out, for `digits` and folders without `train` and `test`."""

    @model_validator(mode="after")
    def _shape_is_of_its_kind(self) -> Self:
        channels, (known_channels, side) = len(self.mean), SHAPES[self.kind]
        if channels != len(self.std):
            raise UserError(f"mean has {channels} channels and std has {len(self.std)}")
        if channels not in known_channels or side not in (None, self.image_size):
            pixels = f" of {side} pixels" if side else ""
            allowed = " or ".join(map(str, sorted(known_channels)))
            raise UserError(
                f"{self.kind} has images{pixels} in {allowed} channels; the task states "
                f"{self.image_size} pixels, and mean and std of {channels} channels"
            )
        return self


class ModelSpec(_Spec):
    """The network architecture of a task."""

    name: str
    """`resnet18`, `allcnn`, `vit`, or the name of any other timm model."""
    width: Annotated[int, Interval(ge=4, le=100_000)] | None = None
    """Channels of the first stage (`resnet18`, `allcnn`) or features of a token (`vit`). None: the
    published width."""
    options: dict[str, bool | int | float | str] = {}
    """Keyword arguments of the architecture."""
    shards: Annotated[int, Interval(ge=2, le=1000)] | None = None
    """Makes the model an ensemble: so many networks, each trained on its own shard of D. None: one
    network, trained on all of D."""


class TrainSpec(_Spec):
    """The training recipe of the original and of every gold."""

    epochs: Annotated[int, Interval(ge=1, le=1_000_000)]
    """Passes over the training set."""
    batch_size: Annotated[int, Interval(ge=2, le=1_000_000)]
    """Samples per step."""
    optimizer: Literal["sgd", "adamw"]
    lr: Annotated[float, Gt(0)]
    """Peak learning rate of the schedule."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """SGD only."""
    nesterov: bool = False
    """SGD only."""
    schedule: Literal["one-cycle", "step", "constant", "cosine"]
    """How the rate goes over the steps; `cosine` falls from `lr` to zero."""
    warmup: Share = 0.2
    """`one-cycle` only: fraction of the steps during which the rate rises to `lr`."""
    milestones: tuple[Annotated[int, Ge(1)], ...] = ()
    """`step` only: epochs after which the rate is multiplied by `gamma`, rising."""
    gamma: Annotated[float, Gt(0)] = 0.1
    """`step` only: factor on the rate at each milestone."""
    flip: bool = False
    """Mirrors each image left to right with probability one half."""
    crop: Annotated[int, Ge(0)] = 0
    """Pads each side with this many black pixels and crops back at random. 0: no crop."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` runs forward passes under autocast. Weights stay float32."""

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        mistakes = []
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            mistakes.append('nesterov needs optimizer = "sgd" and a momentum above 0')
        if bool(self.milestones) != (self.schedule == "step"):
            verb = "takes no" if self.milestones else "needs"
            mistakes.append(f'schedule = "{self.schedule}" {verb} milestones')
        elif list(self.milestones) != sorted(set(self.milestones)):
            mistakes.append(f"milestones do not rise: {list(self.milestones)}")
        elif self.milestones and self.milestones[-1] >= self.epochs:
            mistakes.append(
                f"milestone {self.milestones[-1]} is not before the end of {self.epochs} epochs"
            )
        if mistakes:
            raise UserError("\n".join(mistakes))
        return self


class ForgetSpec(_Spec):
    """The forget sets of a task. Its cases are the product of `classes` and `sizes`."""

    kind: Literal["subset", "class", "random"]
    """`subset`: part of one class; `class`: one whole class; `random`: images of all classes."""
    classes: tuple[ClassName, ...] | Annotated[int, Interval(ge=1, le=1_000_000)] = ()
    """Class names. For data that each user brings: the number of classes, taken in name order."""
    sizes: tuple[Annotated[int, Interval(ge=1, le=1_000_000_000)], ...] = ()
    """Number of images to forget, |D_f|. A smaller set is part of every larger one."""
    draw: Annotated[int, Interval(ge=0, le=1_000_000_000)] = 0
    """Another number gives other forget sets of the same sizes."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        wants_classes, wants_sizes = self.kind != "random", self.kind != "class"
        for field, wanted in (("classes", wants_classes), ("sizes", wants_sizes)):
            if bool(getattr(self, field)) != wanted:
                verb = "needs" if wanted else "takes no"
                raise UserError(f'kind = "{self.kind}" {verb} {field}')
        for field in ("classes", "sizes"):
            values = getattr(self, field)
            if isinstance(values, tuple) and len(set(values)) != len(values):
                raise UserError(f"{field} names one value twice")
        return self


class MeasureSpec(_Spec):
    """The measurements that make a leaderboard entry complete."""

    golds: Annotated[int, Interval(ge=1, le=1000)] = 3
    """Gold models per case, each trained from its own seed."""
    originals: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Originals that all cases share, each trained from its own seed. See `Task.original_seed`."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Runs of the method per case, each with its own seed."""
    budget: Annotated[float, Gt(0)] = 0.5
    """Largest cost of a method, as a fraction of the cost of retraining. Both costs are in
    epochs-equivalent."""


class Task(_Spec):
    """One task, as its TOML file states it."""

    name: Slug
    version: Annotated[int, Interval(ge=1, le=1_000_000)]
    description: str = ""
    citation: str = ""
    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    forget: ForgetSpec
    measure: MeasureSpec = MeasureSpec()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        mistakes = []
        size, crop = self.data.image_size, self.train.crop
        if crop >= size:
            mistakes.append(f"train.crop: {crop} pixels, and the images have {size} on a side")
        try:
            architectures.check(self.model.name, self.model.width, self.model.options, size)
        except UserError as error:
            mistakes.append(f"model: {error}")
        if mistakes:
            raise UserError("\n".join(mistakes))
        return self

    @property
    def id(self) -> str:
        """The task's name and version, as `name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def spec_sha(self) -> str:
        """Hex SHA-256 of the validated spec without its prose, so that wording changes nothing."""
        return digest(spec_content(self, prose={"description", "citation"}))

    @property
    def num_cases(self) -> int:
        """Number of cases of the task."""
        classes = self.forget.classes
        num_classes = classes if isinstance(classes, int) else max(len(classes), 1)
        return num_classes * max(len(self.forget.sizes), 1)

    def cases(self, class_names: Sequence[str]) -> tuple["Case", ...]:
        """The cases of the task: class by class, and per class in the order of `sizes`.

        Args:
            class_names: the classes of the data set, in label order.

        Raises:
            UserError: the spec names a class that the data does not have.
        """
        forget = self.forget
        wanted = forget.classes
        names = tuple(sorted(class_names)[:wanted]) if isinstance(wanted, int) else wanted
        for name in names:
            if name not in class_names:
                raise UserError(
                    f"{self.id}: the data has no class {name!r}{did_you_mean(name, class_names)}"
                )
        if forget.kind == "random":
            return tuple(Case(f"random-{size}", None, size) for size in forget.sizes)
        if forget.kind == "class":
            return tuple(Case(f"{name}-all", name, None) for name in names)
        return tuple(Case(f"{name}-{size}", name, size) for name in names for size in forget.sizes)

    def original_seed(self, case_number: int, seed: int) -> int:
        """Seed of the original that a cell starts from.

        Neighbouring cases start from different originals. So the cases of one seed already span the
        originals, and as many seeds as originals cross cases and originals fully.

        Args:
            case_number: place of the case in `cases`, from 0.
            seed: of the method's run.
        """
        return (case_number + seed) % self.measure.originals

    def case(self, case_id: str) -> "Case":
        """The case of an id that `cases` gives, read from the id and the spec alone.

        If each user brings the data, the spec knows no names of classes, so any name is accepted.

        Args:
            case_id: the id, such as `cat-100`.

        Raises:
            UserError: the task has no such case.
        """
        forget = self.forget
        name, _, end = case_id.rpartition("-")
        sizes: dict[str, int | None] = {str(size): size for size in forget.sizes} or {"all": None}
        if forget.kind == "random":
            names: tuple[str, ...] = ("random",)
        else:
            names = (name,) if isinstance(forget.classes, int) else forget.classes
        if name and name in names and end in sizes:
            return Case(case_id, None if forget.kind == "random" else name, sizes[end])
        known = [f"{each or '<class>'}-{size}" for each in names for size in sizes]
        raise UserError(
            f"task {self.name} has no case {case_id!r}{did_you_mean(case_id, known)} "
            f"It has {', '.join(known)}."
        )


@dataclass(frozen=True)
class Case:
    """One forget set of a task."""

    id: str  # such as `cat-500`, `cat-all` or `random-500`
    class_name: str | None  # None: images are drawn from all classes
    size: int | None  # number of images, |D_f|; None: the whole class


def spec_content(spec: _Spec, prose: set[str] | None = None) -> dict[str, Any]:
    """The content of a spec as JSON values, to be hashed.

    Values that equal their defaults are left out. So writing a default explicitly changes nothing,
    and a later version can add an option without changing the specs that do not use it. For the
    same reason a published default must never change.

    Args:
        spec: the spec.
        prose: top-level fields to leave out.
    """
    return spec.model_dump(mode="json", exclude=prose, exclude_defaults=True)


def parse_task(text: str, source: str) -> Task:
    """Reads one task from TOML text.

    Args:
        text: the TOML.
        source: name of the text in messages.

    Raises:
        UserError: the text is not TOML or not a task. The message lists all mistakes with paths.
    """
    content = parse_toml(text, source)
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        mistakes = [
            ": ".join(filter(None, [".".join(map(str, item["loc"])), line]))
            for item in error.errors()
            for line in _reason(item).splitlines()
        ]
        raise UserError.of(mistakes, source) from None


def _reason(item: ErrorDetails) -> str:
    """What is wrong at one place, in a line each."""
    if item["type"] != "extra_forbidden":
        return item["msg"].removeprefix("Value error, ")
    *groups, key = item["loc"]
    place: Any = Task
    for group in groups:
        place = place.model_fields[group].annotation
    return f"unknown key{did_you_mean(str(key), place.model_fields)}"
