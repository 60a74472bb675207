"""The files of one run: what it writes is its own and is gone with it, and the rest is read-only.

The folders that every program may write to (`SHARED_FOLDERS`) are empty for the run, but for code
that lies in them. A folder that is code itself, as where somebody works in `/tmp`, stays as it is
and can only be read. System V memory, message queues and keyrings are the run's own too.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from . import linux

SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
"""The folders that every program may write to."""

MOST_TASKS = 4000
"""Most processes and threads that a run may have at once."""


def make_files_private(
    folder: str, code: Iterable[str], most_bytes: int, *, on_gpu: bool = False
) -> str | None:
    """Gives this process a file system to write to that ends with it and with its children.

    Args:
        folder: the run's own folder, which will be empty.
        code: files and folders that must stay readable, because they hold code.
        most_bytes: bytes that all files together may have.
        on_gpu: True if the run needs a GPU, whose driver writes to a process's own files in /proc.

    Returns:
        None, or why that could not be.
    """
    try:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC)
        linux.keep_mounts_private()
        linux.allow_reading_only()
        if on_gpu:
            linux.allow_writing_of_itself()
        _mount_private(folder, [os.path.realpath(path) for path in code], most_bytes)
    except OSError as error:
        return f"this system gives a run no files of its own ({error.strerror})"
    linux.limit_processes(MOST_TASKS)
    return None


def _mount_private(folder: str, code: list[str], most_bytes: int) -> None:
    places = sorted({os.path.realpath(place) for place in SHARED_FOLDERS if Path(place).is_dir()})
    places = [place for place in places if place not in code]
    inside = [path for path in code if any(_is_below(path, place) for place in places)]
    outermost = {path for path in inside if not any(_is_below(path, other) for other in inside)}
    # What is opened now can be mounted elsewhere after its place has been covered.
    kept = {path: os.open(path, os.O_PATH) for path in outermost if Path(path).exists()}
    # One file system for all, so that one limit holds for them together.
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("none", folder, "tmpfs", flags, f"size={most_bytes},mode=700")
    own = {}
    for number, place in enumerate([*places, folder]):
        part = Path(folder, str(number))
        part.mkdir()
        part.chmod(0o1777 if place != folder else 0o700)
        own[place] = os.open(part, os.O_PATH)
    for place in places:
        _bind(own[place], place)
    for path, descriptor in kept.items():
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            Path(path).mkdir(parents=True, exist_ok=True)
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
        _bind(descriptor, path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    _bind(own[folder], folder)
    for descriptor in (*kept.values(), *own.values()):
        os.close(descriptor)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _bind(descriptor: int, target: str) -> None:
    flags = linux.MS_BIND | linux.MS_REC
    linux.mount(f"/proc/self/fd/{descriptor}", target, None, flags)
