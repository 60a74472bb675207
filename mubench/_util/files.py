"""Writing files so that a reader sees a whole file or none."""

import os
import re
import socket
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
    except BaseException as error:  # such as a full disk, or Ctrl-C
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # for an open file, the system does not say which
        raise


def temporary_beside(path: Path) -> Path:
    """A name beside a path that no other process uses, on this host or another.

    The name begins with a dot and ends with `.tmp`. It names the host, so that a leftover tells
    where it is from.
    """
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
    return path.with_name(f".{path.name}.{host}-{uuid4().hex}.tmp")
