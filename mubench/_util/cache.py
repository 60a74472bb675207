"""The cache: entries that are whole or absent, checked when read, made by one process at a time.

An entry is a folder `<root>/<kind>/<key>` of files and a `manifest.json` that holds their SHA-256.
It is written under another name and renamed, so a process killed at any moment leaves no entry
that looks complete. A file that no longer matches its manifest is reported by name and its entry
removed; the caller makes it anew. Nothing here imports torch.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from .files import write_atomic
from .messages import say

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """`MUBENCH_CACHE`, else the user's cache folder for mubench."""
    return Path(os.environ.get("MUBENCH_CACHE") or platformdirs.user_cache_dir("mubench"))


@dataclass(frozen=True)
class Entry:
    """A checked entry of the store."""

    folder: Path
    provenance: dict[str, Any]

    def path(self, name: str) -> Path:
        """Where one of the entry's files lies."""
        return self.folder / name

    def content(self, name: str) -> bytes:
        """One of the entry's files."""
        return self.path(name).read_bytes()


class Store:
    """Entries by kind (`models`, `data`, ...) and key, under one root."""

    def __init__(self, root: Path | None = None):
        self.root = root or cache_root()

    def _folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def holds(self, kind: str, key: str) -> bool:
        """Whether an entry is there; its files are not read."""
        return (self._folder(kind, key) / MANIFEST).is_file()

    def keys(self, kind: str) -> list[str]:
        """The keys of all entries of a kind, sorted."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        return sorted(p.parent.name for p in folder.glob(f"[!.]*/{MANIFEST}"))

    def read(self, kind: str, key: str) -> Entry | None:
        """An entry whose every file matches its checksum.

        Returns:
            None when there is none, or when it was damaged: that is reported and it is removed.
        """
        folder = self._folder(kind, key)
        if not folder.exists():
            return None
        problem = self.damage(kind, key)
        if problem:
            say(f"{problem}: removed, it will be made anew")
            shutil.rmtree(folder)
            return None
        return Entry(folder, json.loads((folder / MANIFEST).read_text())["provenance"])

    def damage(self, kind: str, key: str) -> str | None:
        """What is wrong with an entry, in words that name the file; None when it is whole."""
        folder = self._folder(kind, key)
        manifest = folder / MANIFEST
        try:
            stored = json.loads(manifest.read_text())
        except FileNotFoundError:
            return f"incomplete entry {folder}"
        except ValueError:  # neither text nor JSON
            return f"damaged file {manifest}"
        if not _is_manifest(stored):
            return f"damaged file {manifest}"
        for name, expected in stored["files"].items():
            path = folder / name
            if not path.is_file():
                return f"missing file {path}"
            with path.open("rb") as file:
                if _sha_of(file.read()) != expected:
                    return f"damaged file {path}"
        return None

    def write(
        self, kind: str, key: str, files: Mapping[str, bytes], provenance: Mapping[str, Any]
    ) -> Entry:
        """Makes an entry, in place of any that is there.

        Args:
            kind: of the entry.
            key: everything that determines its content, hashed.
            files: name to content.
            provenance: how it came to be, as JSON values.
        """
        folder = self._folder(kind, key)
        temporary = folder.with_name(f".{key}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, content in files.items():
            write_atomic(temporary / name, content)
        hashes = {name: _sha_of(content) for name, content in files.items()}
        manifest = {
            "files": hashes,
            "provenance": dict(provenance),
            "sha256": _manifest_sha(hashes, provenance),
        }
        write_atomic(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        return Entry(folder, dict(provenance))

    def remove(self, kind: str, key: str) -> None:
        """Deletes an entry, if it is there."""
        shutil.rmtree(self._folder(kind, key), ignore_errors=True)

    @contextmanager
    def lock(self, kind: str, key: str, waiting_for: str = "") -> Iterator[None]:
        """Holds the right to make an entry; waits, and says so once, while another process has it.

        The operating system frees the lock of a process that dies. What a killed process left
        half-written for this key is swept up.
        """
        folder = self._folder(kind, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{key}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process to finish {waiting_for or key}")
            lock.acquire()
        try:
            for leftover in folder.parent.glob(f".{key}.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield
        finally:
            lock.release()


def _is_manifest(stored: object) -> bool:
    """Whether a JSON value is a manifest that nobody has edited."""
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("files"), dict)
        and isinstance(stored.get("provenance"), dict)
        and stored.get("sha256") == _manifest_sha(stored["files"], stored["provenance"])
    )


def _sha_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def _manifest_sha(files: Mapping[str, str], provenance: Mapping[str, Any]) -> str:
    return _sha_of(json.dumps([dict(files), dict(provenance)], sort_keys=True).encode())
