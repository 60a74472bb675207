"""What a run leaves in the folders and the memory that all programs share.

This is for systems on which a run has no files of its own. Somebody else's file of the same moment
looks the same, so what is found is flagged and never removed.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from .private_files import SHARED_FOLDERS

FOLDER_PREFIX = "mubench-"
"""How the folder of a run begins, which is removed with the run."""

MOMENT_SECONDS = 0.5
"""Other programs' temporary files are mostly gone after so long."""

_FOLDER = re.compile(rf"{FOLDER_PREFIX}[a-z0-9_]{{8}}")


def left_since(before: frozenset[str]) -> list[str]:
    """What is new since `shared_things` was asked, and stays for a moment."""
    if not shared_things() - before:
        return []
    time.sleep(MOMENT_SECONDS)
    return sorted(shared_things() - before)


def shared_things() -> frozenset[str]:
    """This user's files in shared folders, and segments of System V memory."""
    return frozenset((*_files(), *_segments()))


def _files() -> Iterator[str]:
    for folder in SHARED_FOLDERS:
        try:
            entries = list(os.scandir(folder))
        except OSError:  # there is no such folder, or it cannot be read
            continue
        for entry in entries:
            try:
                is_ours = entry.stat(follow_symlinks=False).st_uid == os.getuid()
            except OSError:  # gone in the meantime
                continue
            if is_ours and not _FOLDER.fullmatch(entry.name):
                yield entry.path


def _segments() -> Iterator[str]:
    """The segments that the system lists; only Linux does, under `shmid` and `uid`."""
    try:
        names, *lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        segment = dict(zip(names.split(), line.split(), strict=False))
        if segment["uid"] == str(os.getuid()):
            yield f"System V memory {segment['shmid']}"
