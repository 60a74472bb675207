"""Writing files so that a reader sees a whole file or none."""

import os
from pathlib import Path
from uuid import uuid4

HARNESS = Path(__file__).parents[1]
"""The folder of the `mubench` package."""


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    Args:
        path: where to write. Missing parent folders are made.
        content: the whole new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # such as a full disk, or Ctrl-C
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """A name beside a path that no other process uses, on this host or another."""
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")
