"""A folder of results: which file lies where, each written whole.

    <task name>/<method>/<case>-seed<k>-<parameters>.json     a record
    <task name>/<method>/<case>-seed<k>-<parameters>.npz      the record's readout
    <task name>/<method>/again/                               marks: see `mubench.record.again`
    <task name>/golds/<key>.npz                               the readout of a gold
    <task name>/originals/<case>-<sha256>.npz                 the readout of an original on a case
    <task name>/shadows/<sha256>.npz                          what golds say of all forget sets

Every metric of a record follows from the record's readout and from those of the golds. What doing
nothing scores follows from the original's readout and from those of the golds.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from mubench._util.errors import DoesNotHold
from mubench._util.files import write_atomic
from mubench._util.hashing import sha256_of
from mubench._util.messages import say

from .schema import GoldReference, Record, RecordHead

OURS = "mubench"
"""The distribution whose methods come with the harness."""
GOLDS = "golds"
"""Name of the folder of golds beside the folders of a task's methods."""
ORIGINALS = "originals"
"""Name of the folder of originals beside the folders of a task's methods."""
SHADOWS = "shadows"
"""Name of the folder, beside the folders of a task's methods, of what records are audited with."""
REFERENCES = (GOLDS, ORIGINALS, SHADOWS)
"""Names of the folders of what records are scored against."""
MOST_BYTES = 1_000_000_000
"""Most bytes of a readout: a thousand times those of the largest task here."""
MOST_TEXT_BYTES = 20_000_000
"""Most bytes of a record or of code: a thousand times those of the largest here."""
SUPERSEDED = "superseded"
"""Name of the folder, beside a method's records, of successes that other records replaced."""
AGAIN = "again"
"""Name of the folder, beside a method's records, of marks: see `mubench.record.again`."""
SOURCE, REQUIREMENTS = "source.py", "requirements.txt"
"""Where an entry says what its code is: the method's own file, or one line that installs it."""


class ResultsFolder:
    """A folder of records and readouts, there or not yet."""

    def __init__(self, root: Path):
        # Absolute, because a method may change the working folder.
        self.root = root.absolute()

    def __truediv__(self, file: str) -> Path:
        return self.root / file

    @staticmethod
    def file(head: RecordHead) -> str:
        """Path of a record under the folder, with slashes."""
        return f"{head.task.partition('@')[0]}/{head.method}/{head.stem}.json"

    def home(self, head: RecordHead) -> Path:
        """The folder of all records of a method on a task."""
        return self.record(head).parent

    def record(self, head: RecordHead) -> Path:
        """Where the record of a measurement lies."""
        return self.root / self.file(head)

    def readout(self, head: RecordHead) -> Path:
        """Where the readout of a measurement lies."""
        return readout_beside(self.record(head))

    def note(self, head: RecordHead) -> Path:
        """Where the traceback of a failed measurement lies."""
        return self.record(head).with_suffix(".traceback.txt")

    def gold(self, head: RecordHead, gold: GoldReference) -> Path:
        """Where the readout of a gold lies."""
        return self.home(head).parent / GOLDS / f"{gold.key[:16]}.npz"

    def golds(self, record: Record) -> list[Path]:
        """Where the readouts of a record's golds lie, in the record's order."""
        return [self.gold(record, gold) for gold in record.golds]

    def original(self, record: Record) -> Path:
        """Where the readout of the original that a record started from lies.

        Its name holds its hash, because devices round differently and so give several readouts of
        one original.
        """
        assert record.nothing_readout_sha256, "the record is from before originals were scored"
        name = f"{record.case}-{record.nothing_readout_sha256[:16]}.npz"
        return self.home(record).parent / ORIGINALS / name

    def shadows(self, record: Record) -> Path:
        """Where the shadow models lie that a record was audited with."""
        assert record.audit, "the record was not audited"
        return self.home(record).parent / SHADOWS / f"{record.audit.shadows_sha256[:16]}.npz"

    def references(self, record: Record) -> list[Path]:
        """Where the files lie that a record was scored against: its golds' and its original's.

        A record from before originals were scored has none of its original. One that was audited
        has shadow models, too.
        """
        has_original = record.nothing_readout_sha256 is not None
        return [
            *self.golds(record),
            *([self.original(record)] if has_original else []),
            *([self.shadows(record)] if record.audit else []),
        ]

    def records(self) -> Iterator[Path]:
        """The JSON files that lie where records do."""
        for path in self.root.glob("*/*/*.json"):
            if path.parent.name not in REFERENCES:
                yield path

    def records_with_parameters(self, head: RecordHead) -> Iterator[list[Path]]:
        """The records of a method with a head's parameters: those of its task, then of any task."""
        name = f"*-{head.parameters_id}.json"
        yield list(self.home(head).glob(name))
        yield list(self.root.glob(f"*/{head.method}/{name}"))

    def write(self, record: Record, readout: bytes | None) -> Path:
        """Writes a record and its readout; the readout first, so that a record is never without.

        A success of other code, or one that a failure would replace, is not lost: its files move to
        a folder `superseded` beside it.

        Args:
            record: what to write.
            readout: the npz of the record's readout. None: the run failed and has none.

        Returns:
            The JSON file.
        """
        self._set_aside(record)
        if readout is not None:
            write_atomic(self.readout(record), readout)
        write_atomic(self.record(record), (record.model_dump_json(indent=1) + "\n").encode())
        if readout is None:
            self.readout(record).unlink(missing_ok=True)
        return self.record(record)

    def _set_aside(self, record: Record) -> None:
        """Moves away a success that a record is about to replace, unless it is the same code's."""
        try:
            earlier = read_record(self.record(record))
        except DoesNotHold:  # there is none, or none that could be lost
            return
        is_renewed = record.status == "ok" and earlier.code == record.code
        if earlier.status != "ok" or is_renewed:
            return
        aside = self.home(record) / SUPERSEDED / f"{record.stem}-{earlier.source_sha256[:8]}.json"
        aside.parent.mkdir(exist_ok=True)
        for old, new in (
            (self.record(record), aside),
            (self.readout(record), readout_beside(aside)),
        ):
            if old.is_file():
                old.replace(new)
        say(f"the record that was there is kept as {aside}")

    def write_note(self, record: Record, text: str) -> Path:
        """Writes what happened beside the record of a failure, and removes it beside a success.

        Args:
            record: the record, already written.
            text: such as a traceback; the record's own error is written if there is none.

        Returns:
            The file of the note.
        """
        note = self.note(record)
        if record.status == "ok":
            note.unlink(missing_ok=True)
        else:
            write_atomic(note, f"{text or record.error}\n".encode())
        return note

    def earlier(self, head: RecordHead) -> Record | None:
        """The record of a success with the same head whose readout is whole, if there is one."""
        if not self.record(head).is_file():
            return None
        try:
            found = read_record(self.record(head))
            readout = self.readout(head).read_bytes()
        except (DoesNotHold, OSError):
            return None
        is_whole = found.status == "ok" and sha256_of(readout) == found.readout_sha256
        return found if is_whole and found.head == head else None


def read_file(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file in a results folder.

    Args:
        path: the file.
        most_bytes: that it may have.

    Raises:
        DoesNotHold: there is no such file, or it is a link, a device, a pipe or far too large.
            Otherwise a link to an endless device would fill the memory, and a pipe would never end.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise DoesNotHold(f"{path.name} is a link and not a file")
        if not stat.S_ISREG(status.st_mode):
            raise DoesNotHold(f"{path.name} cannot be read: it is no file")
        if status.st_size > most_bytes:
            raise DoesNotHold(f"{path.name} is larger than {most_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DoesNotHold(f"{path.name} cannot be read: {error.strerror}") from None


def readout_beside(record: Path) -> Path:
    """The file of the readout that belongs to a record's file."""
    return record.with_suffix(".npz")


def read_record(path: Path) -> Record:
    """Reads one record.

    Raises:
        DoesNotHold: the file is not a record; the message names the file.
    """
    content = read_file(path, MOST_TEXT_BYTES)
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise DoesNotHold(f"{path.name} is not a record: {reason}") from None
