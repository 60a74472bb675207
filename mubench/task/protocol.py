"""A task's protocol in words: what is trained on what, how often, and what is forgotten.

Everything here follows from the spec alone, so no data is read.
"""

from mubench._util.messages import counted

from .architectures import WIDTHS
from .spec import ForgetSpec, Task, TrainSpec

SOURCES = {
    "cifar10": "CIFAR-10, from MUBENCH_DATA or downloaded once (170 MB)",
    "cifar100": "CIFAR-100, from MUBENCH_DATA or downloaded once (169 MB)",
    "digits": "the digits that come with scikit-learn, no download",
    "folder": "your own images, in the folder {name} under MUBENCH_DATA",
    "synthetic": "made by mubench, no download",
}
"""Where the images of each kind of data come from."""


def protocol(task: Task) -> list[tuple[str, str]]:
    """What a task fixes: the name of each part, and the part in words."""
    data, measure = task.data, task.measure
    side = f"{data.image_size}x{data.image_size}"
    cases = task.num_cases
    golds, runs = cases * measure.golds, cases * measure.seeds
    originals = measure.originals
    models = (
        f"{counted(originals, 'original')} and {golds} golds, {measure.golds} for each case: "
        f"{(originals + golds) * task.train.epochs} epochs of training"
    )
    return [
        ("data", SOURCES[data.kind].format(name=data.name)),
        ("images", f"{side} pixels, {_channels(len(data.mean))}{_cut(task)}"),
        ("fingerprint", data.fingerprint or "none is required: a record states that of its data"),
        ("held out", f"{_percent(data.holdout_share)} for methods that ask, the rest is scored"),
        ("model", _model(task)),
        ("recipe", _recipe(task.train)),
        ("forget", _forget(task.forget)),
        ("cases", f"{cases}: {', '.join(_cases(task.forget))}"),
        ("models", models),
        ("first case", f"{1 + measure.golds} models are enough for it"),
        ("an entry", f"{runs} runs, {measure.seeds} for each case"),
        ("budget", f"{_percent(measure.budget)} of retraining, both in epochs-equivalent"),
        ("spec", task.spec_sha),
    ]


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _cut(task: Task) -> str:
    if task.data.kind not in ("digits", "folder"):
        return ""
    cut = f"; {_percent(task.data.test_share)} are held out"
    return cut if task.data.kind == "digits" else f"{cut}, unless there are train and test folders"


def _model(task: Task) -> str:
    model = task.model
    width = model.width or WIDTHS.get(model.name)
    options = [f"{name} {value}" for name, value in model.options.items()]
    shards = [f"an ensemble over {model.shards} shards of D"] if model.shards else []
    return ", ".join([model.name, *([f"width {width}"] if width else []), *options, *shards])


def _recipe(recipe: TrainSpec) -> str:
    parts = [
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}",
        f"{recipe.optimizer} with lr {recipe.lr:g}",
    ]
    if recipe.optimizer == "sgd":
        parts.append(f"momentum {recipe.momentum:g}{' of Nesterov' if recipe.nesterov else ''}")
    if recipe.weight_decay:
        parts.append(f"weight decay {recipe.weight_decay:g}")
    parts.append(f"{recipe.schedule} schedule")
    if recipe.schedule == "one-cycle":
        parts.append(f"warmup over {_percent(recipe.warmup)} of the steps")
    if recipe.schedule == "step":
        after = ", ".join(map(str, recipe.milestones))
        parts.append(f"the rate times {recipe.gamma:g} after epochs {after}")
    augmentation = (["flips"] if recipe.flip else []) + (
        [f"crops padded by {recipe.crop} pixels"] if recipe.crop else []
    )
    parts.append(" and ".join(augmentation) or "no augmentation")
    return ", ".join([*parts, recipe.precision])


def _forget(forget: ForgetSpec) -> str:
    sizes = " or ".join(map(str, forget.sizes))
    draw = f", draw {forget.draw}" if forget.draw else ""
    match forget.kind:
        case "class":
            return "all images of one class"
        case "random":
            return f"{sizes} images of all classes{draw}"
        case "subset":
            return f"{sizes} images of one class{draw}"


def _cases(forget: ForgetSpec) -> list[str]:
    """The ids of the cases; those of data that each user brings have places for names."""
    ends = [str(size) for size in forget.sizes] or ["all"]
    if forget.kind == "random":
        names: tuple[str, ...] = ("random",)
    elif isinstance(forget.classes, int):
        names = ("<class>",)
    else:
        names = forget.classes
    return [f"{name}-{end}" for name in names for end in ends]


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
