"""Loading a task for a command, and training the models that the command needs."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click

from mubench._util.cache import Store

from .options import usage_errors

if TYPE_CHECKING:
    from mubench.gold.library import GoldLibrary
    from mubench.gold.loaded import LoadedTask
    from mubench.task.spec import Case, Task


def load(task_name: str, device: str) -> "GoldLibrary":
    """A task with its data and its models; a user's mistake ends as a usage error.

    Args:
        task_name: a task's name, or the path of its TOML file.
        device: a device's name, or `auto`.
    """
    with usage_errors():
        from mubench.task.installed import load_task

        task = load_task(task_name)
    return open_task(task, device)


def open_task(task: "Task", device: str) -> "GoldLibrary":
    """A task by its spec, with its data and its models.

    Args:
        task: the spec.
        device: a device's name, or `auto`.
    """
    with usage_errors():
        from mubench.gold.library import GoldLibrary
        from mubench.gold.loaded import LoadedTask
        from mubench.run.machine import pick_device

        return GoldLibrary(LoadedTask(task, pick_device(device)), Store())


def chosen_cases(loaded: "LoadedTask", case_ids: Sequence[str]) -> "Sequence[Case]":
    """The cases that a command names; all of the task if it names none."""
    with usage_errors():
        return [loaded.case(case_id) for case_id in case_ids] if case_ids else loaded.cases


def build_missing(
    library: "GoldLibrary",
    cases: "Sequence[Case]",
    seeds: Collection[int] | None = None,
    requires: Collection[str] = (),
) -> None:
    """Trains what is missing; a training that fails ends the command with a message.

    Args:
        library: where the models are kept.
        cases: that are to be measured.
        seeds: of the method's runs. None: any, so all originals are trained.
        requires: what the methods declare.
    """
    from mubench._util.workers import WorkerLost
    from mubench.gold.build import build_missing
    from mubench.method.access import UPDATE_LOG
    from mubench.training.loop import Diverged

    try:
        build_missing(library, cases, seeds, update_logs=UPDATE_LOG in requires)
    except Diverged as error:
        task_id = library.loaded.task.id
        raise click.ClickException(f"training {task_id} diverged: {error}") from None
    except WorkerLost as error:
        task_id = library.loaded.task.id
        raise click.ClickException(
            f"training {task_id} broke off: {error}; the same command goes on from there"
        ) from None
