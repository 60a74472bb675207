"""The tasks that are installed, and finding one by its name or its file.

Any package can bring tasks: TOML files in a package that an entry point of the group
`mubench.tasks` names. A file or a package that is broken breaks only what asks for it.
"""

from dataclasses import dataclass
from importlib import resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from pathlib import Path

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean, error_line
from mubench._util.toml import read_text

from .spec import Task, parse_task

TASKS_GROUP = "mubench.tasks"
"""The entry points of packages that bring tasks."""


@dataclass(frozen=True)
class TaskFile:
    """The file of an installed task, not read yet."""

    name: str
    """The name of the file without its ending, which is the task's."""
    package: str
    """The package that it lies in."""
    file: Traversable

    def read(self) -> Task:
        """The task.

        Raises:
            UserError: the file is not a task, or is a task of another name.
        """
        source = f"task {self.name} of {self.package}"
        try:
            task = parse_task(read_text(self.file, source), source)
        except OSError as error:
            raise UserError(f"{source} cannot be read: {error.strerror}") from None
        if task.name != self.name:
            raise UserError(f"{source} names itself {task.name!r}: rename one of the two")
        return task


def task_files() -> tuple[dict[str, list[TaskFile]], list[str]]:
    """The files of all installed tasks.

    Files whose names begin with a dot are left out. Some systems put such a file beside each file.

    Returns:
        By name, in name order, the files of that name: usually one. And a line for each package
        that cannot be looked into.
    """
    found: dict[str, list[TaskFile]] = {}
    broken = []
    # An editable install can show one entry point twice.
    for package in sorted({entry.value for entry in entry_points(group=TASKS_GROUP)}):
        try:
            files = [file for file in resources.files(package).iterdir() if _is_task(file.name)]
        except Exception as error:  # importing a stranger's package
            broken.append(f"tasks of {package} cannot be read: {error_line(error)}")
            continue
        for file in files:
            name = file.name.removesuffix(".toml")
            found.setdefault(name, []).append(TaskFile(name, package, file))
    return {name: found[name] for name in sorted(found)}, broken


def _is_task(file_name: str) -> bool:
    return file_name.endswith(".toml") and not file_name.startswith(".")


def installed_tasks() -> list[Task]:
    """All installed tasks that can be read, in name order."""
    return read_installed()[0]


def read_installed() -> tuple[list[Task], list[str]]:
    """All installed tasks that can be read, in name order; and a line for each that cannot."""
    files, broken = task_files()
    tasks = []
    for name in files:
        try:
            tasks.append(_read(name, files[name]))
        except UserError as error:
            broken.append("; ".join(line.strip() for line in str(error).splitlines()))
    return tasks, broken


def _read(name: str, files: list[TaskFile]) -> Task:
    if len(files) > 1:
        packages = " and ".join(file.package for file in files)
        raise UserError(f"task {name!r} is in {packages}: uninstall one of them")
    return files[0].read()


def load_task(name_or_path: str) -> Task:
    """Reads a task, given its name, `name@version`, or the path of a TOML file.

    Raises:
        UserError: there is no such task, or its file has mistakes.
    """
    if name_or_path.endswith(".toml"):
        return parse_task(read_text(Path(name_or_path), name_or_path), name_or_path)
    name, _, version = name_or_path.partition("@")
    files, broken = task_files()
    if name not in files:
        unread = "".join(f"; {line}" for line in broken)
        raise UserError(
            f"unknown task {name!r}{did_you_mean(name, files)} `mubench list tasks` names them all"
            f"{unread}."
        )
    task = _read(name, files[name])
    if version and version != str(task.version):
        raise UserError(f"task {name} is at version {task.version}, not {version}")
    return task
