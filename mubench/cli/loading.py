"""Loading a task for a command, and training what it needs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mubench._util.cache import Store
from mubench._util.messages import duration, say

from .options import usage_errors

if TYPE_CHECKING:
    from mubench.gold.identity import ModelRef
    from mubench.gold.loaded import LoadedTask
    from mubench.task.spec import Case


def load(task_name: str, device: str) -> "LoadedTask":
    """A task by name with its data on a device; mistakes end as usage errors."""
    with usage_errors():
        from mubench.task.spec import load_task

        task = load_task(task_name)
        from mubench.gold.loaded import LoadedTask
        from mubench.run.machine import pick_device

        return LoadedTask(task, pick_device(device))


def build_missing(loaded: "LoadedTask", store: Store, cases: "Sequence[Case]") -> None:
    """Trains what is missing, after saying what and how long."""
    from mubench._util.workers import WorkerLost
    from mubench.gold import build, cached
    from mubench.training.loop import Diverged

    absent = cached.missing(loaded, store, cases)
    total = len(cached.needed(loaded, cases))
    if not absent:
        say(f"{loaded.task.id}: all {total} models are cached")
        return
    workers = build.num_workers(loaded.device, len(absent))
    seconds = build.estimate_seconds(loaded, len(absent))
    say(
        f"{loaded.task.id}: {total - len(absent)} of {total} models are cached; training "
        f"{_labels(absent)}, {workers} at once: about {duration(seconds)}"
    )
    try:
        build.build(loaded, store, absent)
    except Diverged as error:
        raise click.ClickException(f"training {loaded.task.id} diverged: {error}") from None
    except WorkerLost as error:
        raise click.ClickException(
            f"training {loaded.task.id} broke off: {error}; the same command goes on from there"
        ) from None


def _labels(refs: "Sequence[ModelRef]") -> str:
    shown = [ref.label for ref in refs[:6]]
    return ", ".join(shown) + (f" and {len(refs) - 6} more" if len(refs) > 6 else "")
