"""The cache, for trained models and decoded images.

An entry is a few files under `<root>/<kind>/<key>`, with a `manifest.json` that holds the SHA-256
of each file. The root is a folder, or a URL such as `s3://bucket/folder`. Many hosts may share it.

- An entry is whole or absent, also to a reader that comes while the entry is written, replaced or
  removed. No lock is needed for that.
- Every entry is determined by its key. So of two writers the first wins, and the second takes the
  entry that is there.
- The bytes that are handed out are those that were checked. If a file does not match the manifest,
  a message names that file and the entry is removed. The caller then makes the entry again.
- A lock saves work: while it is held, nobody else makes the same entry. A lock whose holder gives
  no sign of life is taken over.

Nothing here imports torch.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import SoftFileLease, Timeout

from .backends.disk import Folders
from .backends.manifest import Damaged, Entry
from .backends.remote import Objects
from .errors import UserError
from .messages import say

Content = tuple[Mapping[str, bytes], Mapping[str, Any]]
"""What an entry is made of: content (bytes) by file name, and how it was made, as JSON values."""

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What the key of an entry looks like: the name of a folder, never a path out of the cache."""

LEASE_SECONDS = 60.0
"""Seconds without a sign of life after which a lock of another host is taken over."""

POLL_SECONDS = 0.5
"""Seconds between two looks at a lock that another process holds."""


def cache_root() -> Path:
    """The folder of what is cached on this machine: decoded images and downloads.

    It is the folder `MUBENCH_CACHE`. If that is not set or is a URL, it is the user's cache folder
    for mubench.

    Raises:
        UserError: the user has no home, and `MUBENCH_CACHE` names no folder.
    """
    root = os.environ.get("MUBENCH_CACHE", "")
    try:
        if not root or _is_url(root):
            return Path(platformdirs.user_cache_dir("mubench"))
        return Path(root).expanduser()
    except RuntimeError:
        raise UserError(
            "this user has no home folder; set MUBENCH_CACHE to an absolute path, or HOME"
        ) from None


def _is_url(root: str) -> bool:
    return "://" in root


class Store:
    """A cache: entries by kind (`models`, `data`, ...) and key, under one root.

    Attributes:
        root: a folder as an absolute path, or a URL as text.
    """

    def __init__(self, root: Path | str | None = None):
        """A cache that may not exist yet.

        Args:
            root: a folder or a URL. None: what `MUBENCH_CACHE` says, or else the user's folder.
        """
        if root is None:
            named = os.environ.get("MUBENCH_CACHE", "")
            root = named if _is_url(named) else cache_root()
        self.root: Path | str
        self._backend: Folders | Objects
        if isinstance(root, str) and _is_url(root):
            self.root, self._backend = root, Objects(root)
        else:
            # Absolute, because a method may change the working folder.
            self.root = Path(root).absolute()
            self._backend = Folders(self.root)

    def holds(self, kind: str, key: str) -> bool:
        """True if the entry exists. Its files are not checked."""
        return self._backend.holds(_name(kind, key))

    def read(self, kind: str, key: str) -> Entry | None:
        """Reads an entry and checks every file against its checksum.

        Returns:
            The entry. None if there is no such entry, or if the entry was damaged: a message then
            names the damage, and the entry is removed.
        """
        entry = _name(kind, key)
        try:
            return self._backend.load(entry)
        except Damaged as defect:
            say(f"{defect}: the entry is removed and will be made again")
        self._backend.discard_damaged(entry)
        return None

    def damage(self, kind: str, key: str) -> str | None:
        """What is wrong with an entry, naming the file; None if the entry is whole."""
        try:
            found = self._backend.load(_name(kind, key))
        except Damaged as defect:
            return str(defect)
        return None if found else f"no entry {self.root}/{kind}/{key}"

    def write(
        self,
        kind: str,
        key: str,
        files: Mapping[str, bytes],
        provenance: Mapping[str, Any],
        replace: bool = False,
    ) -> Entry:
        """Writes an entry, unless there is a whole one with the same key.

        Args:
            kind: kind of the entry, such as `models`.
            key: hash of everything that determines the entry's content.
            files: content (bytes) by file name.
            provenance: how the entry was made, as JSON values.
            replace: True to replace an entry that is there.

        Returns:
            The entry that is in the cache now: this one, or that of a writer who was first.
        """
        entry = Entry(dict(files), dict(provenance))
        sealed = entry.sealed()
        while not self._backend.publish(_name(kind, key), sealed, replace):
            first = self.read(kind, key)  # removes it if it is damaged
            if first is not None:
                return first
        return entry

    def made(
        self,
        kind: str,
        key: str,
        make: Callable[[], Content],
        waiting_for: str = "",
    ) -> Entry:
        """An entry, made now if the cache lacks it.

        The cache is read again under the lock. So if two processes start together, the second waits
        and takes what the first has made. A cache that has the entry may be read-only.

        Args:
            kind: kind of the entry.
            key: hash of everything that determines the entry's content.
            make: makes what the entry holds.
            waiting_for: as in `lock`.
        """
        if (entry := self.read(kind, key)) is None:
            with self.lock(kind, key, waiting_for):
                if (entry := self.read(kind, key)) is None:
                    entry = self.write(kind, key, *make())
        return entry

    def remove(self, kind: str, key: str) -> None:
        """Deletes an entry. Does nothing if there is no such entry."""
        self._backend.remove(_name(kind, key))

    @contextmanager
    def lock(self, kind: str, key: str, waiting_for: str = "") -> Iterator[None]:
        """Keeps others from making the same entry at the same time, which would be wasted work.

        If another process holds the lock, this one prints one message and waits. A lock is a file
        that its holder touches every few seconds. So it works on any disk that hosts share. The
        lock of a process that died is taken over: at once on the same host, after `LEASE_SECONDS`
        on another. If a lock is lost to another process, both make the entry and the first wins.

        A cache behind a URL has its locks in the user's cache folder. So there, two hosts can make
        the same entry. What is left of killed writers is deleted once it is a day old.

        Args:
            kind: kind of the entry.
            key: key of the entry.
            waiting_for: what the other process makes, for the message; default: the key.
        """
        entry = _name(kind, key)
        folder = (self.root if isinstance(self.root, Path) else cache_root()) / kind
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".{key}.lease"
        lease = SoftFileLease(path, lease_duration=LEASE_SECONDS)
        try:
            lease.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process to finish {waiting_for or key}")
            _wait(lease, path)
        try:
            self._backend.prepare(entry)
            yield
        finally:
            lease.release()


def _wait(lease: SoftFileLease, path: Path) -> None:
    """Waits for a lock that another process holds, at `path`."""
    while True:
        before = _touched(path)
        try:
            lease.acquire(timeout=2 * LEASE_SECONDS, poll_interval=POLL_SECONDS)
        except Timeout:
            # Such as a lock without content, which a full disk leaves. Nobody ever touches it, and
            # the library takes it for the lock of a version of its own that did not touch locks.
            if _touched(path) == before:
                path.unlink(missing_ok=True)
        else:
            return


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _name(kind: str, key: str) -> str:
    # Otherwise a key such as ".." would name other entries, which can be removed.
    assert KEY.fullmatch(kind) and KEY.fullmatch(key), f"{kind}/{key} is no entry"
    return f"{kind}/{key}"
