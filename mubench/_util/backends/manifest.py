"""An entry of the cache and its manifest, which holds the SHA-256 of each of the entry's files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mubench._util.hashing import sha256_of

T = TypeVar("T")

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """An entry of the cache. Its bytes are those that matched their checksums."""

    files: Mapping[str, bytes]
    """Content by file name, without the manifest."""
    provenance: dict[str, Any]
    """How the entry was made, as JSON values."""

    def content(self, name: str) -> bytes:
        """The bytes of one of the entry's files."""
        return self.files[name]

    def sealed(self) -> dict[str, bytes]:
        """All files of the entry as they are stored, the manifest last."""
        hashes = {name: sha256_of(content) for name, content in self.files.items()}
        manifest = {
            "files": hashes,
            "provenance": self.provenance,
            "sha256": _manifest_sha(hashes, self.provenance),
        }
        return {**self.files, MANIFEST: json.dumps(manifest, indent=1).encode()}


class Damaged(Exception):  # noqa: N818 - a state, not a mistake
    """An entry is not whole. The message names the file."""


def load_settled(state: Callable[[], T | None], load: Callable[[T], Entry]) -> Entry | None:
    """Loads an entry, and once more if it changed meanwhile; None if there is none.

    Args:
        state: tells what is there now; None: there is no entry.
        load: reads what is there, as `state` told it.

    Raises:
        Damaged: the entry is not whole, and did not change while it was read.
    """
    while (before := state()) is not None:
        try:
            return load(before)
        except Damaged:
            if state() == before:
                raise
    return None


def assemble(place: str, manifest: bytes, read: Callable[[str], bytes]) -> Entry:
    """Reads the files that a manifest names, and checks the very bytes that are handed on.

    Args:
        place: name of the entry's place, for messages.
        manifest: content of the manifest.
        read: function of a file's name to the file's content.

    Raises:
        Damaged: the manifest is none, or a file is not there or is not what the manifest says.
    """
    stored = parse_manifest(manifest)
    if stored is None:
        raise Damaged(f"damaged file {place}/{MANIFEST}")
    files = {}
    for name, expected in stored["files"].items():
        try:
            files[name] = read(name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise Damaged(f"missing file {place}/{name}") from None
        if sha256_of(files[name]) != expected:
            raise Damaged(f"damaged file {place}/{name}")
    return Entry(files, stored["provenance"])


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
