"""A folder of records: which file is where, written whole."""

from pathlib import Path

from pydantic import ValidationError

from mubench._util.errors import DoesNotHold
from mubench._util.files import write_atomic

from .schema import GoldReference, Record


def record_file(record: Record) -> str:
    """Name of a record under a results folder, with slashes."""
    return f"{record.task.partition('@')[0]}/{record.method}/{record.stem}.json"


def record_path(results: Path, record: Record) -> Path:
    """Where a record lies under a results folder."""
    return results / record_file(record)


def gold_path(results: Path, record: Record, gold: GoldReference) -> Path:
    """Where the readout of a gold lies under a results folder."""
    return results / record.task.partition("@")[0] / "golds" / f"{gold.key[:16]}.npz"


def write_record(results: Path, record: Record, readout: bytes | None) -> Path:
    """Writes a record, its readout first, so that a record is never without.

    Returns:
        The JSON file.
    """
    path = record_path(results, record)
    if readout is not None:
        write_atomic(path.with_suffix(".npz"), readout)
    write_atomic(path, (record.model_dump_json(indent=1) + "\n").encode())
    if readout is None:
        path.with_suffix(".npz").unlink(missing_ok=True)
    return path


def read_record(path: Path) -> Record:
    """Reads one record.

    Raises:
        DoesNotHold: the file is not a record; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DoesNotHold(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise DoesNotHold(f"{path.name} is not a record: {reason}") from None


OURS = "mubench"
"""The distribution whose methods come with the harness."""
GOLDS = "golds"
SOURCE, REQUIREMENTS = "source.py", "requirements.txt"
