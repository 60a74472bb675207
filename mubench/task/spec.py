"""Task specs: the schema of the TOML files in `tasks/`, a task's identity and its cases.

A task fixes the data, the architecture, the training recipe, the forget sets, the number of golds
and the budget. A gold is a model retrained without the forget set. The file is read into frozen
pydantic models that forbid unknown keys, so all mistakes in a file are reported at once, each with
its path. Nothing here imports torch.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.messages import did_you_mean

TASKS_GROUP = "mubench.tasks"  # entry points of packages that bring tasks

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Interval(ge=0, le=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSpec(_Spec):
    """The images of a task, how they are split, and the hash that they must have."""

    name: Slug
    """Part of the key of every split. So tasks on the same data share forget sets and golds."""
    kind: Literal["cifar10", "cifar100", "digits", "folder", "synthetic"]
    """The source of the images; `folder` reads `MUBENCH_DATA/<name>`."""
    image_size: Annotated[int, Ge(4)]
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
    def _channels_agree(self) -> Self:
        if len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} channels and std has {len(self.std)}")
        return self


class ModelSpec(_Spec):
    """The network architecture of a task."""

    name: str
    """`resnet18`, `allcnn`, `vit`, or the name of any other timm model."""
    width: Annotated[int, Ge(4)] | None = None
    """Channels of the first stage (`resnet18`, `allcnn`) or features of a token (`vit`). None: the
    published width."""
    options: dict[str, bool | int | float | str] = {}
    """Keyword arguments of the architecture."""


class TrainSpec(_Spec):
    """The training recipe of the original and of every gold."""

    epochs: Annotated[int, Ge(1)]
    """Passes over the training set."""
    batch_size: Annotated[int, Ge(2)]
    """Samples per step."""
    optimizer: Literal["sgd", "adamw"]
    lr: Annotated[float, Gt(0)]
    """Peak learning rate of the schedule."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """SGD only."""
    nesterov: bool = False
    """SGD only."""
    schedule: Literal["one-cycle", "step", "constant"]
    warmup: Share = 0.2
    """`one-cycle` only: fraction of the steps during which the rate rises to `lr`."""
    milestones: tuple[Annotated[int, Ge(1)], ...] = ()
    """`step` only: epochs after which the rate is multiplied by `gamma`."""
    gamma: Annotated[float, Gt(0)] = 0.1
    """`step` only: factor on the rate at each milestone."""
    flip: bool = False
    """Mirrors each image left to right with probability one half."""
    crop: Annotated[int, Ge(0)] = 0
    """Pads each side with this many black pixels and crops back at random. 0: no crop."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` runs forward passes under autocast. Weights stay float32."""


class ForgetSpec(_Spec):
    """The forget sets of a task. Its cases are the product of `classes` and `sizes`."""

    kind: Literal["subset", "class", "random"]
    """`subset`: part of one class; `class`: one whole class; `random`: images of all classes."""
    classes: tuple[str, ...] | Annotated[int, Ge(1)] = ()
    """Class names. For data that each user brings: the number of classes, taken in name order."""
    sizes: tuple[Annotated[int, Ge(1)], ...] = ()
    """Number of images to forget, |D_f|. A smaller set is part of every larger one."""
    draw: Annotated[int, Ge(0)] = 0
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

    golds: Annotated[int, Ge(1)] = 3
    """Gold models per case, each trained from its own seed."""
    originals: Annotated[int, Ge(1)] = 1
    """Originals that all cases share, each trained from its own seed. See `Task.original_seed`."""
    seeds: Annotated[int, Ge(1)] = 1
    """Runs of the method per case, each with its own seed."""
    budget: Annotated[float, Gt(0)] = 0.5
    """Largest cost of a method, as a fraction of the cost of retraining. Both costs are in
    epochs-equivalent."""


class Task(_Spec):
    """One task, as its TOML file states it."""

    name: Slug
    version: Annotated[int, Ge(1)]
    description: str = ""
    citation: str = ""
    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    forget: ForgetSpec
    measure: MeasureSpec = MeasureSpec()

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
    try:
        return Task.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not TOML: {error}") from None
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(str(part) for part in item['loc']) or 'task'}: {_reason(item['msg'])}"
            for item in error.errors()
        ]
        raise UserError.of(mistakes, source) from None


def _reason(message: str) -> str:
    if message == "Extra inputs are not permitted":
        return "unknown key"
    return message.removeprefix("Value error, ")


def available_tasks() -> dict[str, str]:
    """The TOML texts of all installed tasks by name, in name order.

    Raises:
        UserError: two installed packages have a task with the same name.
    """
    found: dict[str, tuple[str, str]] = {}
    for entry in sorted(entry_points(group=TASKS_GROUP), key=lambda entry: entry.value):
        for file in resources.files(entry.value).iterdir():
            if not file.name.endswith(".toml"):
                continue
            name = file.name.removesuffix(".toml")
            if name in found and found[name][1] != entry.value:
                raise UserError(f"task {name!r} is in both {found[name][1]} and {entry.value}")
            found[name] = (file.read_text(encoding="utf-8"), entry.value)
    return {name: found[name][0] for name in sorted(found)}


def installed_tasks() -> list["Task"]:
    """All installed tasks, in name order.

    Raises:
        UserError: a task's file has mistakes, or two packages bring a task of the same name.
    """
    return [load_task(name) for name in available_tasks()]


def load_task(name_or_path: str) -> Task:
    """Reads a task, given its name, `name@version`, or the path of a TOML file.

    Raises:
        UserError: there is no such task, or its file has mistakes.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"there is no task file {name_or_path}")
        return parse_task(path.read_text(encoding="utf-8"), name_or_path)
    name, _, version = name_or_path.partition("@")
    tasks = available_tasks()
    if name not in tasks:
        raise UserError(
            f"unknown task {name!r}{did_you_mean(name, tasks)} `mubench list tasks` names them all."
        )
    task = parse_task(tasks[name], f"task {name}")
    if version and version != str(task.version):
        raise UserError(f"task {name} is at version {task.version}, not {version}")
    return task
