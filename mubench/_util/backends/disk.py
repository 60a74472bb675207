"""Entries as folders on a disk that many hosts may share.

- An entry is written under a name of its own, and then renamed. The system refuses to rename a
  folder onto one that holds files. So of two writers the first wins, without any lock.
- An entry that has to go is first renamed and then deleted. So nobody finds a half-deleted one.
- A reader that meets a folder which another process replaces meanwhile reads it again.
"""

import errno
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mubench._util.files import temporary_beside, write_atomic

from .manifest import MANIFEST, Damaged, Entry, assemble, load_settled

LEFTOVER_SECONDS = 86_400
"""Age at which a half-written file is a leftover.

No write takes so long, and no two clocks of a cluster differ so much."""

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""What systems say when a folder is renamed onto one with files, or onto a file."""


class Folders:
    """Entries as folders `<root>/<kind>/<key>`."""

    def __init__(self, root: Path):
        self.root = root

    def holds(self, entry: str) -> bool:
        """True if there is such an entry, `<kind>/<key>`. Its files are not checked."""
        return (self.root / entry / MANIFEST).is_file()

    def load(self, entry: str) -> Entry | None:
        """Reads an entry, `<kind>/<key>`; None if there is none.

        Raises:
            Damaged: the entry is not whole.
        """
        folder = self.root / entry
        return load_settled(lambda: _identity(folder), lambda _: _load(folder))

    def publish(self, entry: str, files: Mapping[str, bytes], replace: bool) -> bool:
        """Makes an entry, whole or not at all.

        Args:
            entry: `<kind>/<key>`.
            files: content by file name, the manifest last.
            replace: True to replace an entry that is there.

        Returns:
            False if there is an entry that is not to be replaced.
        """
        folder = self.root / entry
        temporary = temporary_beside(folder)
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                write_atomic(temporary / name, content)
            while not _rename_unless_taken(temporary, folder):
                if not replace:
                    return False
                self.remove(entry)
        finally:  # such as a full disk, Ctrl-C, or another writer who was first
            shutil.rmtree(temporary, ignore_errors=True)
        return True

    def discard_damaged(self, entry: str) -> None:
        """Removes a damaged entry, unless another process has put a whole one there meanwhile."""
        folder = self.root / entry
        aside = _set_aside(folder)
        if aside is None:
            return
        with suppress(Damaged):
            _load(aside)
            if _rename_unless_taken(aside, folder):
                return
        _delete(aside)

    def remove(self, entry: str) -> None:
        """Removes an entry. Does nothing if there is none."""
        aside = _set_aside(self.root / entry)
        if aside is not None:
            _delete(aside)

    def prepare(self, entry: str) -> None:
        """Deletes what killed processes of any host have left beside an entry, `<kind>/<key>`."""
        oldest = time.time() - LEFTOVER_SECONDS
        for leftover in (self.root / entry).parent.glob(".*.tmp"):
            with suppress(FileNotFoundError):  # another process sweeps too
                if leftover.stat().st_mtime < oldest:
                    _delete(leftover)


def _load(folder: Path) -> Entry:
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Damaged(f"incomplete entry {folder}") from None
    return assemble(str(folder), manifest, lambda name: (folder / name).read_bytes())


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """What tells a folder from another one of the same name; None if there is none."""
    try:
        found = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _rename_unless_taken(temporary: Path, folder: Path) -> bool:
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True


def _set_aside(folder: Path) -> Path | None:
    """Takes an entry out of sight; None if another process was first."""
    aside = temporary_beside(folder)
    try:
        os.utime(folder)  # otherwise the age of its content would make it a leftover at once
        folder.rename(aside)
    except FileNotFoundError:
        return None
    return aside


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
