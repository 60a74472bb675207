"""Gathering an entry of the leaderboard from an author's records, ready for a pull request."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mubench._util.errors import UserError
from mubench._util.files import write_atomic
from mubench._util.messages import say
from mubench.method.discovery import MethodClass, load_method
from mubench.method.parameters import configure, resolved_parameters
from mubench.record.folder import OURS, REQUIREMENTS, SOURCE, gold_path, read_record, record_path
from mubench.record.schema import Record
from mubench.task.spec import TaskSpec

from .entry import review


def submit(
    reference: str,
    settings: Mapping[str, Any],
    task: TaskSpec,
    results: Path,
    to: Path,
    requirement: str | None = None,
) -> list[Path]:
    """Writes an entry, if `review` finds nothing wrong with it.

    Args:
        reference: the method, named as for its runs.
        settings: parameters other than the defaults, as for its runs.
        task: on which it was measured.
        results: folder of its records.
        to: folder of results to which the entry is added, there or not.
        requirement: what installs the distribution that was measured, in pip's words; default:
            where this one was installed from.

    Returns:
        The files.

    Raises:
        UserError: the entry is not complete, does not hold, or its code cannot be had by others.
    """
    method = load_method(reference)
    parameters = resolved_parameters(configure(method, settings))
    records = _records(reference, method, parameters, task, results)
    code = _code(reference, method, requirement)
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        home = record_path(staged, records[0]).parent
        for name, content in code.items():
            write_atomic(home / name, content)
        for record in records:
            _copy(record, results, staged)
        if problems := review(staged).problems:
            raise UserError("\n".join(["the entry is not fit to be published:", *problems]))
        written = _add(staged, to)
    for name in {SOURCE, REQUIREMENTS} - code.keys():  # of an earlier submission
        record_path(to, records[0]).with_name(name).unlink(missing_ok=True)
    return written


def _records(
    reference: str,
    method: MethodClass,
    parameters: Mapping[str, Any],
    task: TaskSpec,
    results: Path,
) -> list[Record]:
    """What was measured of the method as it is now."""
    folder = results / task.name / method.name
    found = [read_record(path) for path in sorted(folder.glob("*.json"))]
    records = [record for record in found if record.parameters == parameters]
    run = f"`mubench run --method {reference} --task {task.name} --cases all`"
    if not records:
        others = f" ({len(found)} with other parameters: --set as for the run)" * bool(found)
        raise UserError(f"{folder} has no such records{others}; {run} makes them")
    code = (method.distribution, method.version, method.source_sha)
    stale = [
        record.case
        for record in records
        if (record.distribution, record.distribution_version, record.source_sha256) != code
    ]
    if stale:
        raise UserError(
            f"{reference} was changed since it was measured on {', '.join(stale)}, or had another "
            f"name or version then: {run} measures it again"
        )
    if len(found) > len(records):
        say(f"left out: {len(found) - len(records)} records with other parameters")
    return records


def _code(reference: str, method: MethodClass, requirement: str | None) -> dict[str, bytes]:
    """Where others get the code: a file of the entry, name to content."""
    name, version = method.distribution, method.version
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
    """What would install a distribution again from where pip had it; None: from a folder."""
    # In its own folder, an editable install shows the metadata of its source as well.
    found = list(distributions(name=name))
    origins = [text for one in found if (text := one.read_text("direct_url.json"))]
    if not origins:
        return f"{name}=={version}" if all(one.read_text("RECORD") for one in found) else None
    origin = json.loads(origins[0])
    if vcs := origin.get("vcs_info"):
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return None


def _copy(record: Record, results: Path, staged: Path) -> None:
    """A record as it is, its readout and those of its golds, where they are there."""
    path = record_path(results, record)
    golds = [gold_path(results, record, gold) for gold in record.golds]
    for file in (path, path.with_suffix(".npz"), *golds):
        if file.is_file():
            write_atomic(staged / file.relative_to(results), file.read_bytes())


def _add(staged: Path, to: Path) -> list[Path]:
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
    other: Sequence[Path] = [
        path
        for path, content in files.items()
        if path.parent.name == "golds" and path.is_file() and path.read_bytes() != content
    ]
    if other:
        raise UserError(
            f"{other[0]} is published with other content: golds trained elsewhere differ in the "
            "last bits. `mubench gold import` the published ones and run again"
        )
