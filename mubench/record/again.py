"""Marks: that the keepers of a folder of results have measured one of its records again.

    <task name>/<method>/again/<case>-seed<k>-<parameters>.json     the mark of the record above it

A mark names the record by the SHA-256 of the record's file. So a mark of a record that was replaced
since then says nothing of the new one.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, ValidationError

from mubench._util.errors import DoesNotHold
from mubench._util.files import write_atomic
from mubench._util.hashing import sha256_of
from mubench.task.spec import Sha256

from .check import Checked
from .folder import AGAIN, ResultsFolder, read_file


class Mark(BaseModel):
    """What measuring a record again has shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    record_sha256: Sha256
    """SHA-256 of the record's file."""
    chosen_by: str
    """The text by which the record was chosen, such as the name of a commit."""
    harness_sha256: Sha256
    """As in the record of the second measurement."""
    git_revision: str | None
    """Revision of the checkout that the harness ran from."""
    device: str
    """The maker's name of the GPU or of the processor of the second measurement."""
    threads: Annotated[int, Ge(1)]
    """Threads of the CPU that the method had then."""
    measured_at: str
    """UTC, ISO 8601."""
    differences: tuple[str, ...]
    """What did not come out the same, a line each; empty where the record was confirmed."""


def mark_file(record_file: str) -> str:
    """The path of a record's mark, from that of the record; both are under the results folder."""
    home, _, name = record_file.rpartition("/")
    return f"{home}/{AGAIN}/{name}"


def write_mark(results: ResultsFolder, record_file: str, mark: Mark) -> str:
    """Writes the mark of a record, in place of an earlier one.

    Args:
        results: the folder of results.
        record_file: the path of the record under the folder.
        mark: what to write.

    Returns:
        The path of the mark under the folder.
    """
    file = mark_file(record_file)
    write_atomic(results / file, (mark.model_dump_json(indent=1) + "\n").encode())
    return file


def read_mark(results: ResultsFolder, record_file: str) -> Mark:
    """Reads the mark of a record.

    Args:
        results: the folder of results.
        record_file: the path of the record under the folder.

    Raises:
        DoesNotHold: there is no mark, the file is none, or it is of another record than is there.
    """
    content = read_file(results / mark_file(record_file))
    try:
        mark = Mark.model_validate_json(content)
    except ValidationError:
        raise DoesNotHold("it is no mark of a record that was measured again") from None
    if mark.record_sha256 != sha256_of(read_file(results / record_file)):
        raise DoesNotHold("it is of another record than is there now")
    return mark


def marks(results: ResultsFolder, checked: Iterable[Checked]) -> dict[str, Mark]:
    """The marks of the records that hold: path of the record under the folder to mark.

    A file that is no mark, or is of another record than is there, counts for nothing.

    Args:
        results: the folder of results.
        checked: the records that hold.
    """
    found = {}
    for one in checked:
        if (results / mark_file(one.file)).exists():
            try:
                found[one.file] = read_mark(results, one.file)
            except DoesNotHold:
                continue
    return found
