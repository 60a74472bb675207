"""Marks in a review: they come from those who measured a published entry again, and fit it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mubench._util.errors import DoesNotHold
from mubench.record.again import read_mark
from mubench.record.folder import AGAIN, ResultsFolder

from .published import Change


def is_mark(file: str) -> bool:
    """True if a path under a folder of results is where marks lie."""
    return Path(file).parts[2:3] == (AGAIN,)


def changed_marks(changes: Sequence[Change]) -> Iterator[str]:
    """Complaints about marks that come along with records, or vanish without them.

    A mark says that someone else than the author has measured a record. So no change brings both.

    Args:
        changes: all changes under the folder of results.
    """
    others = {change.file for change in changes if not is_mark(change.file)}
    for change in changes:
        path = Path(change.file)
        if not is_mark(change.file):
            continue
        if change.kind == "removed":
            if (path.parents[1] / path.name).as_posix() not in others:
                yield f"{path}: is a published mark and was removed"
        elif others:
            yield (
                f"{path}: marks are from those who measured a published entry again, and come in "
                "a change of their own"
            )


def odd_marks(results: ResultsFolder, homes: Iterable[Path]) -> Iterator[str]:
    """Complaints about files among the marks that are no mark of a record that is there.

    Args:
        results: the folder of results.
        homes: the folders under it that are reviewed, as `<task>/<method>`.
    """
    for home in sorted(homes):
        folder = results / str(home / AGAIN)
        for path in sorted(folder.glob("*")):
            try:
                read_mark(results, f"{home.as_posix()}/{path.name}")
            except DoesNotHold as error:
                yield f"{home / AGAIN / path.name}: {error}"
