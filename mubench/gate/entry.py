"""Judging entries of the leaderboard: what continuous integration asks of a pull request.

An entry is one method with one set of parameters on one task. In a folder of results, an entry is

    <task>/<method>/   its records and readouts, and where its code is: `source.py`, a method in one
                       file, or `requirements.txt`, one line that installs what was measured;
                       in `again/`, marks of records that were measured again
    <task>/golds/      the readouts of the golds that it was scored against
    <task>/originals/  the readouts of the originals that it started from
    <task>/shadows/    the shadow models that it was audited with, if it was

`mubench.record.check` holds the numbers against the readouts. This module checks the rest:

- The entry is complete, and all of its records are of one code.
- Everyone can get that code.
- Nothing that was published is touched.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mubench._util.errors import DoesNotHold, UserError
from mubench._util.hashing import digest
from mubench.gold.identity import FIRST_GOLD_SEED, identity
from mubench.record.check import Checked, Rejected, read_results
from mubench.record.folder import (
    AGAIN,
    OURS,
    REFERENCES,
    REQUIREMENTS,
    SOURCE,
    ResultsFolder,
    read_file,
)
from mubench.record.schema import Record
from mubench.task.installed import installed_tasks
from mubench.task.spec import Task

from .claims import check_code, check_name, check_words, origin, parse_pinned, pinned
from .marks import changed_marks, is_mark, odd_marks
from .published import Base, Change

FILE_DEPTH = 3
"""Least parts of a file's path under a folder of results: task, method and name."""


@dataclass(frozen=True)
class EntryReview:
    """What a review of a folder of results found."""

    checked: tuple[Checked, ...]
    """The records that hold. With a base, only those of folders in which something changed."""
    complaints: tuple[str, ...]
    """One line per complaint: the file or folder, and what is wrong."""


def review(results: Path, base: str | None = None) -> EntryReview:
    """Checks a folder of results.

    Args:
        results: the folder.
        base: a git revision. Only folders that differ from it are checked, and nothing that it
            holds may have been changed or removed.

    Raises:
        UserError: there is no such folder, or git does not know the revision.
    """
    if not any(results.glob("*/*")):
        raise UserError(f"{results} holds no <task>/<method>: give the folder above the tasks")
    tasks = {task.id: task for task in installed_tasks()}
    before = Base(results, base) if base else None
    changes = before.changes() if before else []
    homes = {path.relative_to(results) for path in results.glob("*/*") if path.is_dir()}
    if before:
        homes &= {_home(change.file) for change in changes}
    # All records are read, because only all of them tell which golds are the usual ones.
    read = read_results(results, tasks.values(), thorough={home.as_posix() for home in homes})
    checked = [one for one in read.checked if Path(one.file).parent in homes]
    rejected = [one for one in read.rejected if Path(one.file).parent in homes]
    complaints = [*changed_marks(changes), *odd_marks(ResultsFolder(results), homes)]
    complaints += [line for change in changes if before and (line := _touched(before, change))]
    complaints += [f"{one.file}: {one.reason}" for one in rejected]
    complaints += [
        f"{home / name}: does not belong here"
        for home in sorted(homes)
        for name in _strangers(results / home)
    ]
    if before:
        complaints += [
            f"{change.file}: does not belong here"
            for change in changes
            if change.kind == "added" and len(Path(change.file).parts) < FILE_DEPTH
        ]
    else:
        complaints += [
            f"{path.relative_to(results)}: does not belong here"
            for path in sorted((*results.glob("*"), *results.glob("*/*")))
            if path.is_symlink() or not path.is_dir()
        ]
    complaints += _nameless_models(results, homes, read.checked, read.rejected)
    rejected_homes = {Path(one.file).parent for one in rejected}
    entries: dict[tuple[Path, str], list[Record]] = defaultdict(list)
    for one in checked:
        home = Path(one.file).parent
        if home not in rejected_homes:  # what is missing there is told already
            entries[home, digest(one.record.parameters)].append(one.record)
    for (home, _), records in entries.items():
        reasons = [*_check_entry(tasks[records[0].task], records), *check_name(records[0])]
        if records[0].distribution != OURS:
            reasons += check_code(results / home, records)
        reasons += [f"{one.stem}.json: {line}" for one in records for line in check_words(one)]
        complaints += [f"{home}: {reason}" for reason in reasons]
    complaints += _shared_names(homes, read.checked)
    return EntryReview(tuple(checked), tuple(dict.fromkeys(map(_one_line, complaints))))


def _home(file: str) -> Path:
    """The folder of an entry in which a file lies, however deep."""
    return Path(*Path(file).parts[:2])


def _one_line(text: str) -> str:
    """A text with escapes for what is no letter to print, which names of files can have."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _touched(base: Base, change: Change) -> str | None:
    """The complaint about a change of what was published; None if the change is allowed."""
    home = _home(change.file)
    if change.kind == "added" or is_mark(change.file):
        return None
    if home.name in REFERENCES:
        return (
            f"{change.file}: is the readout of a published model and was {change.kind}: import the "
            "published ones with `mubench gold import` and run again"
        )
    if _is_new_version(base, home):
        return None
    return (
        f"{change.file}: is published and was {change.kind}: publish another version of the "
        "distribution with all of its records, or give the method another name"
    )


def _is_new_version(base: Base, home: Path) -> bool:
    """True if all records of a folder are replaced by those of another version of the code.

    Both versions must come from one place, because anyone can give a distribution its name.
    """

    def versions(contents: Sequence[bytes]) -> set[tuple[str | None, str | None]]:
        records = [Record.model_validate_json(content) for content in contents]
        return {(record.distribution, record.distribution_version) for record in records}

    old_files = [home / name for name in base.files(home) if name.endswith(".json")]
    try:
        old = versions([base.read(file) for file in old_files])
        new = versions([read_file(path) for path in (base.folder / home).glob("*.json")])
    except (ValidationError, DoesNotHold):
        return False
    names = {name for name, _ in old | new}
    if not (old and new) or len(names) != 1 or None in names or old & new:
        return False
    if REQUIREMENTS not in base.files(home):
        return names == {OURS}
    before, now = parse_pinned(base.read(home / REQUIREMENTS)), pinned(base.folder / home)
    return before is not None and now is not None and origin(before) == origin(now)


def _shared_names(homes: Iterable[Path], checked: Iterable[Checked]) -> Iterator[str]:
    """Complaints about a name that stands for several codes: in a folder, or on several tasks.

    Args:
        homes: the folders that are reviewed.
        checked: all records that hold, of these folders and of others.
    """
    codes: dict[str, dict[Path, set[object]]] = defaultdict(lambda: defaultdict(set))
    owners: dict[str, dict[Path, set[object]]] = defaultdict(lambda: defaultdict(set))
    for one in checked:
        record, home = one.record, Path(one.file).parent
        codes[home.name][home].add(record.code)
        # Files have no owner, so only the same file is surely by the same author.
        owners[home.name][home].add(record.distribution or record.source_sha256)
    for home in sorted(homes):
        own = owners[home.name][home]
        others = sorted(h for h, owner in owners[home.name].items() if own and owner != own)
        if len(codes[home.name][home]) > 1:
            yield f"{home}: is of different versions of the code: measure all records with one"
        elif others:
            yield f"{home}: is of another author's code than {others[0]}: give it another name"


def _nameless_models(
    results: Path, homes: Iterable[Path], checked: Iterable[Checked], rejected: Sequence[Rejected]
) -> Iterator[str]:
    """Complaints about readouts of golds and originals that no record was scored against.

    Args:
        results: the folder of results.
        homes: the folders under it that are reviewed.
        checked: all records under it that hold.
        rejected: all files under it that do not. If a task has any, nothing is said of its models,
            because such a file may have named them.
    """
    folder = ResultsFolder(results)
    named = {path for one in checked for path in folder.references(one.record)}
    unsure = {Path(one.file).parts[0] for one in rejected}
    for home in sorted(homes):
        if home.name in REFERENCES and home.parts[0] not in unsure:
            for path in sorted((folder / str(home)).glob("*.npz")):
                if path not in named:
                    yield f"{home / path.name}: is of a model that no record was scored against"


def _strangers(folder: Path) -> Iterator[str]:
    """The names of files that are no record, no readout and do not say where the code is."""
    for path in sorted(folder.iterdir()):
        if path.name == AGAIN and not path.is_symlink() and path.is_dir():
            belongs = folder.name not in REFERENCES  # `odd_marks` looks into it
        elif path.is_symlink() or not path.is_file():
            belongs = False
        elif folder.name in REFERENCES:
            belongs = path.suffix == ".npz"
        elif path.suffix == ".npz":
            belongs = path.with_suffix(".json").is_file()
        else:
            belongs = path.suffix == ".json" or path.name in (SOURCE, REQUIREMENTS)
        if not belongs:
            yield path.name


def _check_entry(task: Task, records: Sequence[Record]) -> Iterator[str]:
    """Complaints about an entry that no single record can cause.

    Args:
        task: the task of the entry.
        records: all records of the entry, each of which holds.
    """
    seeds: dict[str, set[int]] = {}
    for record in records:
        seeds.setdefault(record.case, set()).add(record.seed)
    if (missing := task.num_cases - len(seeds)) > 0:
        yield (
            f"{len(seeds)} of the {task.num_cases} cases of {task.id}: measure the other {missing} "
            "too (--cases all)"
        )
    wanted = set(range(task.measure.seeds))
    if few := sorted(case for case, given in seeds.items() if not wanted <= given):
        asked = ", ".join(map(str, sorted(wanted)))
        yield f"{', '.join(few)}: lacks a seed that {task.id} asks for, of {asked}"
    elif any(given != set(range(len(given))) for given in seeds.values()):
        yield "its seeds are not 0, 1 and so on: nobody chooses seeds"
    elif len(set(map(len, seeds.values()))) > 1:
        yield "its cases have different numbers of seeds: measure all cases with as many"
    for record in records:
        keys = {
            digest(identity(task, record.data_fingerprint, record.forget_sha256, seed))
            for seed in range(FIRST_GOLD_SEED, FIRST_GOLD_SEED + task.measure.golds)
        }
        if record.status == "ok" and keys != {gold.key for gold in record.golds}:
            yield f"{record.stem}.json was scored against golds that are not those of its D_f"
