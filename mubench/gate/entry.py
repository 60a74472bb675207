"""Judging entries of the leaderboard: what continuous integration asks of a pull request.

An entry is one method with one set of parameters on one task. In a folder of results, an entry is

    <task>/<method>/   its records and readouts, and where its code is: `source.py`, a method in one
                       file, or `requirements.txt`, one line that installs what was measured
    <task>/golds/      the readouts of the golds that it was scored against

`mubench.record.check` holds the numbers against the readouts. This module checks the rest:

- The entry is complete, and all of its records are of one code.
- Everyone can get that code.
- Nothing that was published is touched.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench.gold.identity import FIRST_GOLD_SEED, identity
from mubench.method.access import ACCESS
from mubench.method.discovery import SLUG, available_methods
from mubench.method.source import source_sha
from mubench.record.check import Checked, Rejected, read_results
from mubench.record.folder import GOLDS, OURS, REQUIREMENTS, SOURCE, ResultsFolder
from mubench.record.schema import Record
from mubench.task.spec import Task, installed_tasks

from .published import Base, Change

DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""What the name of a distribution looks like."""

PINNED = re.compile(
    r"(?P<name>[\w.-]+)(==(?P<version>[\w.!+-]+)"
    r"| @ (git\+)?https://\S+(@[0-9a-f]{40}|#sha256=[0-9a-f]{64}))\n?"
)
"""One requirement that installs the same code for everyone: a version, a commit or a hash."""


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
        homes &= {Path(change.file).parent for change in changes}
    # All records are read, because only all of them tell which golds are the usual ones.
    read = read_results(results, tasks.values(), thorough={home.as_posix() for home in homes})
    checked = [one for one in read.checked if Path(one.file).parent in homes]
    rejected = [one for one in read.rejected if Path(one.file).parent in homes]
    complaints = [line for change in changes if before and (line := _touched(before, change))]
    complaints += [f"{one.file}: {one.reason}" for one in rejected]
    complaints += [
        f"{home / name}: does not belong here"
        for home in sorted(homes)
        for name in _strangers(results / home)
    ]
    if not before:  # a pull request's own files outside of its folders are for its reviewer
        complaints += [
            f"{path.relative_to(results)}: does not belong here"
            for path in sorted((*results.glob("*"), *results.glob("*/*")))
            if path.is_symlink() or not path.is_dir()
        ]
    complaints += _nameless_golds(results, homes, read.checked, read.rejected)
    rejected_homes = {Path(one.file).parent for one in rejected}
    entries: dict[tuple[Path, str], list[Record]] = defaultdict(list)
    for one in checked:
        home = Path(one.file).parent
        if home not in rejected_homes:  # what is missing there is told already
            entries[home, digest(one.record.parameters)].append(one.record)
    for (home, _), records in entries.items():
        reasons = list(_check_entry(tasks[records[0].task], records))
        reasons += _check_name(records[0])
        if records[0].distribution != OURS:
            reasons += _check_code(results / home, records)
        complaints += [f"{home}: {reason}" for reason in reasons]
    return EntryReview(tuple(checked), tuple(dict.fromkeys(complaints)))


def _touched(base: Base, change: Change) -> str | None:
    """The complaint about a change of what was published; None if the change is allowed."""
    home = Path(change.file).parent
    if change.kind == "added":
        return None
    if home.name == GOLDS:
        return (
            f"{change.file}: is the readout of a published gold and was {change.kind}: import the "
            "published golds with `mubench gold import` and run again"
        )
    if _is_new_version(base, home):
        return None
    return (
        f"{change.file}: is published and was {change.kind}: publish another version of the "
        "distribution with all of its records, or give the method another name"
    )


def _is_new_version(base: Base, home: Path) -> bool:
    """True if all records of a folder are replaced by those of another version of the code."""

    def versions(contents: Sequence[bytes]) -> set[tuple[str | None, str | None]]:
        records = [Record.model_validate_json(content) for content in contents]
        return {(record.distribution, record.distribution_version) for record in records}

    old_files = [home / name for name in base.files(home) if name.endswith(".json")]
    try:
        old = versions([base.read(file) for file in old_files])
        new = versions([path.read_bytes() for path in (base.folder / home).glob("*.json")])
    except ValidationError:
        return False
    names = {name for name, _ in old | new}
    return bool(old and new) and len(names) == 1 and None not in names and not old & new


def _nameless_golds(
    results: Path, homes: Iterable[Path], checked: Iterable[Checked], rejected: Sequence[Rejected]
) -> Iterator[str]:
    """Complaints about readouts of golds that no record was scored against.

    Args:
        results: the folder of results.
        homes: the folders under it that are reviewed.
        checked: all records under it that hold.
        rejected: all files under it that do not. If a task has any, nothing is said of its golds,
            because such a file may have named them.
    """
    folder = ResultsFolder(results)
    named = {path for one in checked for path in folder.golds(one.record)}
    unsure = {Path(one.file).parts[0] for one in rejected}
    for home in sorted(homes):
        if home.name == GOLDS and home.parts[0] not in unsure:
            for path in sorted((folder / str(home)).glob("*.npz")):
                if path not in named:
                    yield f"{home / path.name}: is of a gold that no record was scored against"


def _strangers(folder: Path) -> Iterator[str]:
    """The names of files that are no record, no readout and do not say where the code is."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            belongs = False
        elif folder.name == GOLDS:
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
    seeds: dict[str, set[int]] = defaultdict(set)
    for record in records:
        seeds[record.case].add(record.seed)
    if (missing := task.num_cases - len(seeds)) > 0:
        yield (
            f"{len(seeds)} of the {task.num_cases} cases of {task.id}: measure the other {missing} "
            "too (--cases all)"
        )
    wanted = set(range(task.measure.seeds))
    if few := sorted(case for case, given in seeds.items() if not wanted <= given):
        asked = ", ".join(map(str, sorted(wanted)))
        yield f"{', '.join(few)}: lacks a seed that {task.id} asks for, of {asked}"
    if len({(r.distribution_version, r.source_sha256) for r in records}) > 1:
        yield "the records were made by different versions of the code: measure all with one"
    for record in records:
        keys = {
            digest(identity(task, record.data_fingerprint, record.forget_sha256, seed))
            for seed in range(FIRST_GOLD_SEED, FIRST_GOLD_SEED + task.measure.golds)
        }
        if record.status == "ok" and keys != {gold.key for gold in record.golds}:
            yield f"{record.stem}.json was scored against golds that are not those of its D_f"


def _check_name(record: Record) -> Iterator[str]:
    """Complaints about what an entry calls itself."""
    ours = {
        name
        for name, claims in available_methods().items()
        if any(claim.dist and claim.dist.name == OURS for claim in claims)
    }
    if not SLUG.fullmatch(record.method) or record.method == GOLDS:
        yield f"a method is named like gentle-ascent, in small letters, not {record.method!r}"
    if record.distribution == OURS:
        if record.method not in ours:
            yield f"claims to come with {OURS}, which has no method {record.method!r}"
        return
    if record.method in ours:
        yield f"{record.method!r} is the name of a method of {OURS}: give it another name"
    if record.distribution and not DISTRIBUTION.fullmatch(record.distribution):
        yield f"{record.distribution!r} is no name of a distribution"
    elif record.distribution and _normal(record.distribution) == OURS:
        yield f"its distribution is spelt {record.distribution!r} and not {OURS!r}"


def _check_code(home: Path, records: Sequence[Record]) -> Iterator[str]:
    """Complaints about the code of an entry whose method does not come with the harness.

    Args:
        home: the folder of the entry.
        records: all records of the entry.
    """
    record = records[0]
    if record.control or not set(record.requires) <= ACCESS:
        yield "is a control, and controls come with mubench only"
    if record.distribution is None:
        source = home / SOURCE
        if not source.is_file() or source_sha([source]) != record.source_sha256:
            yield f"{SOURCE} must be the file that was measured: `mubench submit` puts it there"
        return
    file = home / REQUIREMENTS
    line = PINNED.fullmatch(file.read_text(encoding="utf-8")) if file.is_file() else None
    if line is None:
        yield (
            f"{REQUIREMENTS} must be one line that pins {record.distribution}, as in `name==1.0` "
            "or `name @ git+https://...@<commit>`"
        )
    elif _normal(line["name"]) != _normal(record.distribution):
        yield f"{REQUIREMENTS} installs {line['name']}, measured was {record.distribution}"
    elif line["version"] not in (None, record.distribution_version):
        yield (
            f"{REQUIREMENTS} installs version {line['version']}, measured was "
            f"{record.distribution_version}"
        )


def _normal(name: str) -> str:
    """The normal spelling of a distribution's name, by which pip finds the distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
