"""Hashes of values and bytes, and the seeds that follow from them."""

import hashlib
import json
from hashlib import sha256


def digest(value: object) -> str:
    """SHA-256 of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed for one stage, from a hash: stages never share a random stream by accident."""
    return int(digest(list(parts))[:16], 16) >> 1


def sha256_of(content: bytes) -> str:
    """Hex SHA-256."""
    return sha256(content).hexdigest()
