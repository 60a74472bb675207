"""The cache on disk, for trained models and decoded images.

An entry is a folder `<root>/<kind>/<key>` of files, with a `manifest.json` that holds the SHA-256
of each file.

- An entry is whole or absent. It is written under another name and then renamed, so a process
  killed at any moment leaves no entry that looks complete.
- Every file is checked when the entry is read. If a file does not match the manifest, a message
  names that file and the entry is removed. The caller then makes the entry again.
- A lock per entry lets only one process at a time make that entry.

Nothing here imports torch.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from .files import temporary_beside, write_atomic
from .hashing import sha256_of
from .messages import say

MANIFEST = "manifest.json"


KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What the key of an entry looks like: the name of a folder, never a path out of the cache."""


def cache_root() -> Path:
    """The folder `MUBENCH_CACHE` or, if that is not set, the user's cache folder for mubench."""
    root = os.environ.get("MUBENCH_CACHE") or platformdirs.user_cache_dir("mubench")
    return Path(root).expanduser()


@dataclass(frozen=True)
class Entry:
    """An entry of the cache whose files matched their checksums when it was read."""

    folder: Path
    provenance: dict[str, Any]
    """How the entry was made, as JSON values."""

    def path(self, name: str) -> Path:
        """The path of one of the entry's files."""
        return self.folder / name

    def content(self, name: str) -> bytes:
        """The bytes of one of the entry's files."""
        return self.path(name).read_bytes()


class Store:
    """A cache: entries by kind (`models`, `data`, ...) and key, under one root folder."""

    def __init__(self, root: Path | None = None):
        # Absolute, because a method may change the working folder.
        self.root = (root or cache_root()).absolute()

    def _folder(self, kind: str, key: str) -> Path:
        # Otherwise a key such as ".." would name other entries, which are removed before a write.
        assert KEY.fullmatch(kind) and KEY.fullmatch(key), f"{kind}/{key} is no entry"
        return self.root / kind / key

    def holds(self, kind: str, key: str) -> bool:
        """True if the entry exists. Its files are not checked."""
        return (self._folder(kind, key) / MANIFEST).is_file()

    def read(self, kind: str, key: str) -> Entry | None:
        """Reads an entry and checks every file against its checksum.

        Returns:
            The entry. None if there is no such entry, or if the entry was damaged: a message then
            names the damage, and the entry is removed.
        """
        folder = self._folder(kind, key)
        if not folder.exists():
            return None
        defect = self.damage(kind, key)
        if defect:
            say(f"{defect}: the entry is removed and will be made again")
            shutil.rmtree(folder)
            return None
        return Entry(folder, json.loads((folder / MANIFEST).read_text())["provenance"])

    def damage(self, kind: str, key: str) -> str | None:
        """What is wrong with an entry, naming the file; None if the entry is whole."""
        folder = self._folder(kind, key)
        manifest = folder / MANIFEST
        try:
            stored = parse_manifest(manifest.read_bytes())
        except FileNotFoundError:
            return f"incomplete entry {folder}"
        if stored is None:
            return f"damaged file {manifest}"
        for name, expected in stored["files"].items():
            path = folder / name
            if not path.is_file():
                return f"missing file {path}"
            with path.open("rb") as file:
                if sha256_of(file.read()) != expected:
                    return f"damaged file {path}"
        return None

    def write(
        self, kind: str, key: str, files: Mapping[str, bytes], provenance: Mapping[str, Any]
    ) -> Entry:
        """Writes an entry and replaces an earlier one with the same key.

        Args:
            kind: kind of the entry, such as `models`.
            key: hash of everything that determines the entry's content.
            files: content (bytes) by file name.
            provenance: how the entry was made, as JSON values.

        Returns:
            The new entry.
        """
        folder = self._folder(kind, key)
        hashes = {name: sha256_of(content) for name, content in files.items()}
        manifest = {
            "files": hashes,
            "provenance": dict(provenance),
            "sha256": _manifest_sha(hashes, provenance),
        }
        temporary = temporary_beside(folder)
        temporary.mkdir(parents=True)
        try:
            for name, content in files.items():
                write_atomic(temporary / name, content)
            write_atomic(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        except BaseException:  # such as a full disk, or Ctrl-C
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Entry(folder, dict(provenance))

    def remove(self, kind: str, key: str) -> None:
        """Deletes an entry. Does nothing if there is no such entry."""
        shutil.rmtree(self._folder(kind, key), ignore_errors=True)

    @contextmanager
    def lock(self, kind: str, key: str, waiting_for: str = "") -> Iterator[None]:
        """Holds the right to make an entry; only one process at a time has that right.

        If another process holds the lock, this one prints one message and waits. The operating
        system frees the lock of a process that dies. Half-written files that a killed process left
        for this key are deleted.

        Args:
            kind: kind of the entry.
            key: key of the entry.
            waiting_for: what the other process makes, for the message; default: the key.
        """
        folder = self._folder(kind, key)
        if not folder.parent.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{key}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process to finish {waiting_for or key}")
            lock.acquire()
        except OSError:
            if not self.holds(kind, key):
                raise
            # A complete cache may be read-only, such as a colleague's. Reading needs no lock.
            yield
            return
        try:
            for leftover in folder.parent.glob(f".{key}.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield
        finally:
            lock.release()


def parse_manifest(content: bytes) -> dict[str, Any] | None:
    """The manifest in a JSON text; None if the text is no manifest, or somebody has edited it."""
    try:
        stored = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):  # not text, not JSON, or a number that JSON does not have
        return None
    return stored if _is_manifest(stored) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_manifest(stored: object) -> bool:
    """True if a JSON value is a manifest that nobody has edited."""
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("files"), dict)
        and isinstance(stored.get("provenance"), dict)
        and stored.get("sha256") == _manifest_sha(stored["files"], stored["provenance"])
    )


def _manifest_sha(files: Mapping[str, str], provenance: Mapping[str, Any]) -> str:
    return sha256_of(json.dumps([dict(files), dict(provenance)], sort_keys=True).encode())
