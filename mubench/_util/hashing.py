"""Hashes of JSON values and of bytes, and random seeds derived from hashes."""

import hashlib
import json
from hashlib import sha256


def digest(value: object) -> str:
    """Hex SHA-256 of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed for one purpose, from the hash of `parts`.

    Different parts give unrelated seeds. So two stages never share a random stream by accident.
    """
    return int(digest(list(parts))[:16], 16) >> 1


def sha256_of(content: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return sha256(content).hexdigest()
