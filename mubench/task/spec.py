"""Task specs: what one TOML file in `tasks/` may say, its identity and its cases.

A task fixes the data, the architecture, the training recipe, the forget sets, the golds and the
budget. It is read into frozen pydantic models that forbid unknown keys, so every mistake in a file
is reported at once, each with its path. Nothing here imports torch.
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

TASKS_GROUP = "mubench.tasks"

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Interval(ge=0, le=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSpec(_Spec):
    """Which images, how they are cut, and what they must hash to."""

    name: Slug
    """Names the data in the keyed hashes: tasks on the same data share forget sets and golds."""
    kind: Literal["cifar10", "cifar100", "digits", "folder", "synthetic"]
    """How the images are found; `folder` reads `MUBENCH_DATA/<name>`."""
    image_size: Annotated[int, Ge(4)]
    """Pixels on a side; a folder's images are resized to it, the other kinds must have it."""
    mean: Annotated[tuple[float, ...], MinLen(1)]
    """Per channel, of pixels scaled to [0, 1]. Constants, so that no statistic of D_f leaks."""
    std: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    """Per channel, as `mean`."""
    fingerprint: Sha256 | None = None
    """What the data must hash to. None: data that each user brings; records say what was used."""
    holdout_share: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    """Share of the held-out images that methods may ask for; the rest is scored."""
    test_share: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Only for `digits` and a folder without `train` and `test`: the share held out, by content."""

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} channels and std {len(self.std)}")
        return self


class ModelSpec(_Spec):
    """The architecture."""

    name: str
    """`resnet18`, `allcnn`, `vit`, or any other timm name."""
    width: Annotated[int, Ge(4)] | None = None
    """Channels of the first stage (`resnet18`, `allcnn`) or of a token (`vit`); None: published."""
    options: dict[str, bool | int | float | str] = {}
    """Passed on to the architecture by name."""


class TrainSpec(_Spec):
    """The recipe of the original and of every gold."""

    epochs: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(2)]
    optimizer: Literal["sgd", "adamw"]
    lr: Annotated[float, Gt(0)]
    """Peak learning rate."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """SGD only."""
    nesterov: bool = False
    """SGD only."""
    schedule: Literal["one-cycle", "step", "constant"]
    warmup: Share = 0.2
    """`one-cycle` only: share of the steps that rise to `lr`."""
    milestones: tuple[Annotated[int, Ge(1)], ...] = ()
    """`step` only: epochs after which the rate is multiplied by `gamma`."""
    gamma: Annotated[float, Gt(0)] = 0.1
    """`step` only."""
    flip: bool = False
    """Mirror half of the images at random."""
    crop: Annotated[int, Ge(0)] = 0
    """Pad by so many pixels of black and crop back at random; 0: no crop."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: autocast; weights stay float32."""


class ForgetSpec(_Spec):
    """The forget sets. The cases are the product of `classes` and `sizes`."""

    kind: Literal["subset", "class", "random"]
    """`subset`: some of one class; `class`: all of one class; `random`: some of all classes."""
    classes: tuple[str, ...] | Annotated[int, Ge(1)] = ()
    """Class names; or, for data that each user brings, how many to take in name order."""
    sizes: tuple[Annotated[int, Ge(1)], ...] = ()
    """|D_f| of each case; nested: a smaller set is part of every larger one."""
    draw: Annotated[int, Ge(0)] = 0
    """Another draw gives other forget sets of the same sizes."""

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
    """What a complete leaderboard entry is made of."""

    golds: Annotated[int, Ge(1)] = 3
    """Gold models per case, each from its own seed."""
    seeds: Annotated[int, Ge(1)] = 1
    """Seeds of the method that an entry needs for each case."""
    budget: Annotated[float, Gt(0)] = 0.5
    """Most that a method may spend, as a share of the retraining cost in epochs-equivalent."""


class TaskSpec(_Spec):
    """One task, as its TOML file says it."""

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
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def spec_sha(self) -> str:
        """SHA-256 of the validated spec without its prose, so that wording changes nothing."""
        return digest(spec_content(self, prose={"description", "citation"}))

    @property
    def num_cases(self) -> int:
        """How many cases the task has."""
        classes = self.forget.classes
        num_classes = classes if isinstance(classes, int) else max(len(classes), 1)
        return num_classes * max(len(self.forget.sizes), 1)

    def cases(self, class_names: Sequence[str]) -> tuple["Case", ...]:
        """The cases in their order: class by class, sizes rising as the spec gives them.

        Args:
            class_names: of the data set, in label order.

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


@dataclass(frozen=True)
class Case:
    """One forget set of a task."""

    id: str
    class_name: str | None  # None: drawn from all classes
    size: int | None  # None: the whole class


def spec_content(spec: _Spec, prose: set[str] | None = None) -> dict[str, Any]:
    """What a spec says, as JSON values to be hashed.

    Defaults are left out: saying one explicitly changes nothing, and an option that a later version
    adds does not change the specs that do not use it. So a default, once published, never changes.
    """
    return spec.model_dump(mode="json", exclude=prose, exclude_defaults=True)


def parse_task(text: str, source: str) -> TaskSpec:
    """Reads one task from TOML text.

    Args:
        text: the TOML.
        source: what to call the text in a message.

    Raises:
        UserError: not TOML, or not a task; the message lists every mistake with its path.
    """
    try:
        return TaskSpec.model_validate(tomllib.loads(text))
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
    """All installed tasks: name to TOML text, in name order.

    Raises:
        UserError: two installed packages bring a task of the same name.
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


def load_task(name_or_path: str) -> TaskSpec:
    """A task by name, `name@version`, or path of a TOML file.

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
