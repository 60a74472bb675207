"""What the commands share: options, error handling, loading a task, training what is missing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .errors import UserError
from .store import Store, say

if TYPE_CHECKING:
    from .golds import LoadedTask, ModelRef
    from .task import Case

TASK = click.option("--task", "task_name", required=True, help="A task's name, or its TOML file.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1; auto: a GPU if any."
)
CASE = click.option(
    "--case", "case_ids", multiple=True, metavar="CASE", help="Such as cat-100; repeatable."
)

SETTINGS = click.option(
    "-s", "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the method; repeatable. `mubench show METHOD` lists them.",
)  # fmt: skip
OUT = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
    show_default=True, help="Folder of records.",
)  # fmt: skip


def examples(*lines: str) -> str:
    """The tail of a help page."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns a user's mistake into one clear message and exit code 2."""
    try:
        yield
    except UserError as error:
        raise click.UsageError(str(error)) from None


def load(task_name: str, device: str) -> "LoadedTask":
    """A task by name with its data on a device; mistakes end as usage errors."""
    with usage_errors():
        from .task import load_task

        task = load_task(task_name)
        from .golds import LoadedTask
        from .runner import pick_device

        return LoadedTask(task, pick_device(device))


def build_missing(loaded: "LoadedTask", store: Store, cases: "Sequence[Case]") -> None:
    """Trains what is missing, after saying what and how long."""
    from . import gold_build, golds
    from .executor import WorkerLost
    from .training import Diverged

    absent = golds.missing(loaded, store, cases)
    total = len(golds.needed(loaded, cases))
    if not absent:
        say(f"{loaded.task.id}: all {total} models are cached")
        return
    workers = gold_build.num_workers(loaded.device, len(absent))
    seconds = gold_build.estimate_seconds(loaded, len(absent))
    say(
        f"{loaded.task.id}: {total - len(absent)} of {total} models are cached; training "
        f"{_labels(absent)}, {workers} at once: about {duration(seconds)}"
    )
    try:
        gold_build.build(loaded, store, absent)
    except Diverged as error:
        raise click.ClickException(f"training {loaded.task.id} diverged: {error}") from None
    except WorkerLost as error:
        raise click.ClickException(
            f"training {loaded.task.id} broke off: {error}; the same command goes on from there"
        ) from None


def _labels(refs: "Sequence[ModelRef]") -> str:
    shown = [ref.label for ref in refs[:6]]
    return ", ".join(shown) + (f" and {len(refs) - 6} more" if len(refs) > 6 else "")


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
