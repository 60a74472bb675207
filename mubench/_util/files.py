"""Files that a reader sees whole or not at all."""

import os
from pathlib import Path

HARNESS = Path(__file__).parents[1]
"""The folder of the harness's own code."""


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    Args:
        path: in an existing or a new folder.
        content: all of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
