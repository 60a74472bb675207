"""Gathering an entry of the leaderboard from an author's records, ready for a pull request."""

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mubench._util.errors import UserError
from mubench._util.files import write_atomic
from mubench._util.messages import say
from mubench.method.discovery import MethodClass, load_method
from mubench.method.presets import Choice, configure_choice
from mubench.record.folder import GOLDS, OURS, REQUIREMENTS, SOURCE, ResultsFolder, read_record
from mubench.record.schema import Record
from mubench.task.spec import Task

from .entry import review


def submit(
    reference: str,
    choice: Choice,
    task: Task,
    results: Path,
    to: Path,
    requirement: str | None = None,
) -> list[Path]:
    """Writes an entry, if `review` has no complaint about it.

    Args:
        reference: the method, named as for its runs.
        choice: its preset and its parameters, as for its runs.
        task: the task on which the method was measured.
        results: the folder of the method's records.
        to: the folder of results to which the entry is added; made if it does not exist.
        requirement: what installs the distribution that was measured, in pip's words. None: where
            the installed one came from.

    Returns:
        The files that were written.

    Raises:
        UserError: the entry is not complete, does not hold, or others cannot get its code.
    """
    method = load_method(reference)
    parameters = configure_choice(method, choice).parameters
    measured = ResultsFolder(results)
    records = _records(reference, method, parameters, task, measured)
    code = _code(reference, method, requirement)
    with tempfile.TemporaryDirectory() as folder:
        staged = ResultsFolder(Path(folder))
        for name, content in code.items():
            write_atomic(staged.home(records[0]) / name, content)
        for record in records:
            _copy(record, measured, staged)
        if complaints := review(staged.root).complaints:
            raise UserError("\n".join(["the entry is not fit to be published:", *complaints]))
        written = _add(staged.root, to)
    for name in {SOURCE, REQUIREMENTS} - code.keys():  # of an earlier submission
        (ResultsFolder(to).home(records[0]) / name).unlink(missing_ok=True)
    return written


def _records(
    reference: str,
    method: MethodClass,
    parameters: Mapping[str, Any],
    task: Task,
    results: ResultsFolder,
) -> list[Record]:
    """The records of the method as it is now.

    Args:
        reference: how the user names the method.
        method: the method.
        parameters: all parameters of the method.
        task: the task of the records.
        results: the folder of the records.

    Raises:
        UserError: there are none, or some were made by other code.
    """
    folder = results / task.name / method.name
    found = [read_record(path) for path in sorted(folder.glob("*.json"))]
    records = [record for record in found if record.parameters == parameters]
    run = f"`mubench run --method {reference} --task {task.name} --cases all`"
    if not records:
        others = f" ({len(found)} with other parameters: --preset and --set as for the run)" * bool(
            found
        )
        raise UserError(f"{folder} has no such records{others}; {run} makes them")
    if stale := [record.case for record in records if record.code != method.code]:
        raise UserError(
            f"{reference} was changed since it was measured on {', '.join(stale)}, or had another "
            f"name or version then: {run} measures it again"
        )
    if len(found) > len(records):
        say(f"left out: {len(found) - len(records)} records with other parameters")
    return records


def _code(reference: str, method: MethodClass, requirement: str | None) -> dict[str, bytes]:
    """The file of an entry that says where others get the code, as name to content.

    Args:
        reference: how the user names the method.
        method: the method.
        requirement: what installs the method, in pip's words, if the user says so.

    Raises:
        UserError: nobody else could get the code.
    """
    name, version = method.distribution, method.distribution_version
    if name == OURS:
        return {}
    if name is None:
        files = method.files
        if len(files) > 1:
            raise UserError(
                f"{reference} is part of a package: give that an entry point as `mubench "
                "new-method` does, publish it, and run the installed method"
            )
        return {SOURCE: files[0].read_bytes()}
    line = requirement or _origin(name, str(version))
    if not line:
        raise UserError(
            f"{name} {version} was installed from a folder, where nobody else can get it: publish "
            f"it and say where, as in --requirement '{name} @ git+https://...@<commit>'; or run "
            "and submit its file, as ./mine.py:Mine"
        )
    return {REQUIREMENTS: f"{line}\n".encode()}


def _origin(name: str, version: str) -> str | None:
    """The requirement that installs a distribution again; None if it came from a folder.

    Args:
        name: the name of the distribution.
        version: the version that is installed.
    """
    # In its own folder, an editable install shows the metadata of its source as well.
    found = list(distributions(name=name))
    origins = [text for one in found if (text := one.read_text("direct_url.json"))]
    if not origins:
        return f"{name}=={version}" if all(one.read_text("RECORD") for one in found) else None
    origin = json.loads(origins[0])
    if vcs := origin.get("vcs_info"):
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return None


def _copy(record: Record, results: ResultsFolder, staged: ResultsFolder) -> None:
    """Copies a record, its readout and those it was scored against, as far as they exist."""
    for file in (results.record(record), results.readout(record), *results.references(record)):
        if file.is_file():
            write_atomic(staged / str(file.relative_to(results.root)), file.read_bytes())


def _add(staged: Path, to: Path) -> list[Path]:
    """Copies all files of a folder into another, and names the new files."""
    files = {
        to / path.relative_to(staged): path.read_bytes()
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
    _refuse_other_golds(files)
    for path, content in files.items():
        write_atomic(path, content)
    return list(files)


def _refuse_other_golds(files: Mapping[Path, bytes]) -> None:
    """Raises UserError if the readout of a gold would replace one with other content."""
    other = [
        path
        for path, content in files.items()
        if path.parent.name == GOLDS and path.is_file() and path.read_bytes() != content
    ]
    if other:
        raise UserError(
            f"{other[0]} is published with other content: golds trained elsewhere differ in the "
            "last bits. `mubench gold import` the published ones and run again"
        )
