"""The tasks that are installed, and finding one by its name or its file.

Any package can bring tasks: TOML files in a package that an entry point of the group
`mubench.tasks` names. A file or a package that is broken breaks only what asks for it.

`<name>.toml` is the newest version of a task. An older version that can still be run lies beside
it as `<name>@<version>.toml`.
"""

from collections.abc import Iterator
from contextlib import suppress
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

    stem: str
    """The name of the file without its ending: `<name>`, or `<name>@<version>`."""
    package: str
    """The package that it lies in."""
    file: Traversable

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.stem.partition("@")[0]

    def read(self) -> Task:
        """The task.

        Raises:
            UserError: the file is not a task, or is a task of another name or version.
        """
        source = f"task {self.stem} of {self.package}"
        try:
            task = parse_task(read_text(self.file, source), source)
        except OSError as error:
            raise UserError(f"{source} cannot be read: {error.strerror}") from None
        if self.stem not in (task.name, task.id):
            itself = task.id if "@" in self.stem else task.name
            raise UserError(f"{source} names itself {itself!r}: rename one of the two")
        return task


def task_files() -> tuple[dict[str, list[TaskFile]], list[str]]:
    """The files of all installed tasks.

    Files whose names begin with a dot are left out. Some systems put such a file beside each file.

    Returns:
        By name, in name order, the files of that name: usually one per version. And a line for
        each package that cannot be looked into.
    """
    found: dict[str, list[TaskFile]] = {}
    broken = []
    for package in _packages():
        try:
            files = _files(package, ".toml")
        except Exception as error:  # importing a stranger's package
            broken.append(f"tasks of {package} cannot be read: {error_line(error)}")
            continue
        for file in files:
            task_file = TaskFile(file.name.removesuffix(".toml"), package, file)
            found.setdefault(task_file.name, []).append(task_file)
    return {name: found[name] for name in sorted(found)}, broken


def shipped_files(ending: str) -> Iterator[tuple[str, Traversable]]:
    """What packages of tasks hold besides tasks; a package that cannot be looked into is left out.

    Args:
        ending: of the file names, such as `.zip`.

    Yields:
        The package and the file, in order of names.
    """
    for package in _packages():
        with suppress(Exception):  # importing a stranger's package; `task_files` tells of it
            for file in sorted(_files(package, ending), key=lambda file: file.name):
                yield package, file


def _packages() -> list[str]:
    """The packages that bring tasks. An editable install can show one entry point twice."""
    return sorted({entry.value for entry in entry_points(group=TASKS_GROUP)})


def _files(package: str, ending: str) -> list[Traversable]:
    files = resources.files(package).iterdir()
    return [one for one in files if one.name.endswith(ending) and not one.name.startswith(".")]


def installed_tasks() -> list[Task]:
    """All versions of all installed tasks that can be read, in name order; the newest first."""
    return read_installed()[0]


def read_installed() -> tuple[list[Task], list[str]]:
    """All installed tasks that can be read; and a line for each that cannot.

    Returns:
        The tasks in name order, and of each name the newest version first.
    """
    files, broken = task_files()
    tasks: list[Task] = []
    for name in files:
        found = []
        for stem in sorted({file.stem for file in files[name]}):
            try:
                found.append(_read(stem, files[name]))
            except UserError as error:
                broken.append("; ".join(line.strip() for line in str(error).splitlines()))
        tasks += sorted(found, key=lambda task: -task.version)
    return tasks, broken


def _read(stem: str, files: list[TaskFile]) -> Task:
    """The task of the one file of a stem, among the files of its name."""
    of_stem = [file for file in files if file.stem == stem]
    if len(of_stem) > 1:
        packages = " and ".join(file.package for file in of_stem)
        raise UserError(f"task {stem!r} is in {packages}: uninstall one of them")
    return of_stem[0].read()


def load_task(name_or_path: str) -> Task:
    """Reads a task, given its name, `name@version`, or the path of a TOML file.

    A name alone is that of the newest version.

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
    stems = {file.stem for file in files[name]}
    if name_or_path in stems:
        return _read(name_or_path, files[name])
    if name not in stems:
        raise UserError(f"task {name} is installed as {', '.join(sorted(stems))}: name one of them")
    task = _read(name, files[name])
    if version and version != str(task.version):
        others = "".join(f" or {stem.partition('@')[2]}" for stem in sorted(stems - {name}))
        raise UserError(f"task {name} is at version {task.version}{others}, not {version}")
    return task
