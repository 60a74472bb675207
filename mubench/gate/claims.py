"""What an entry says of itself: its name, its code, its words. Each complaint is a sentence."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mubench._util.errors import DoesNotHold
from mubench.method.access import ACCESS
from mubench.method.discovery import SLUG, available_methods
from mubench.method.presets import TUNED
from mubench.method.source import source_sha
from mubench.record.flags import Flag
from mubench.record.folder import (
    MOST_TEXT_BYTES,
    OURS,
    REFERENCES,
    REQUIREMENTS,
    SOURCE,
    read_file,
)  # fmt: skip
from mubench.record.schema import Record, dotted

DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""What the name of a distribution looks like."""

PINNED = re.compile(
    r"(?P<name>[\w.-]+)(==(?P<version>[\w.!+-]+)"
    r"| @ (?P<address>git\+https://[!-~]+@[0-9a-f]{40}|https://[!-~]+#sha256=[0-9a-f]{64}))\n?",
    re.ASCII,
)
"""One requirement that installs the same code for everyone: a version, a commit or a hash."""

VERSION = re.compile(r"[\w.!+-]{1,100}", re.ASCII)
"""What the version of a distribution looks like."""

PLAIN = re.compile(r"[ -;=?-_a-{}~]{0,200}")
"""Words that can stand on a page: printable ASCII that no markup is made of."""

PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
"""What the name of a parameter looks like."""

FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
"""Nothing was measured before."""


def check_name(record: Record) -> Iterator[str]:
    """Complaints about what an entry calls itself, and about the access that it declares."""
    ours = {
        name
        for name, claims in available_methods().items()
        if any(claim.dist and claim.dist.name == OURS for claim in claims)
    }
    if not SLUG.fullmatch(record.method) or record.method in REFERENCES:
        yield f"a method is named like gentle-ascent, in small letters, not {record.method!r}"
    if not record.control and not set(record.requires) <= ACCESS:
        more = ", ".join(sorted(set(record.requires) - ACCESS))
        yield f"has the access {more!r}, for controls only, and controls come with {OURS} only"
    if record.distribution == OURS:
        if record.method not in ours:
            yield f"claims to come with {OURS}, which has no method {record.method!r}"
        return
    if record.control:
        yield f"is a control, and controls come with {OURS} only"
    if record.method in ours:
        yield f"{record.method!r} is the name of a method of {OURS}: give it another name"
    if record.distribution and not DISTRIBUTION.fullmatch(record.distribution):
        yield f"{record.distribution!r} is no name of a distribution"
    elif record.distribution and _normal(record.distribution) == OURS:
        yield f"its distribution is spelt {record.distribution!r} and not {OURS!r}"


def check_words(record: Record) -> Iterator[str]:
    """Complaints about words of a record that stand on the page, and about its date."""
    words = {
        "device": record.device,
        "precision": record.precision,
        "git_revision": record.git_revision or "",
        **{f"versions of {name!r}": f"{name} {at}" for name, at in record.versions.items()},
        **dict(_parameter_words(record.parameters)),
    }
    for name, text in words.items():
        if not PLAIN.fullmatch(text):
            yield f"its {name} is not plain text that a page can show: {text[:50]!r}"
    if unknown := sorted(set(record.changed or ()) - set(dotted(record.parameters))):
        yield f"it says that {unknown[0][:50]!r} is changed, which is no parameter of it"
    if (record.preset == TUNED) != (record.tuning_epochs is not None):
        yield "its preset is tuned and nobody says what that cost, or the other way round"
    version = record.distribution_version
    if version is not None and not VERSION.fullmatch(version):
        yield f"{version[:50]!r} is no version of a distribution"
    if unknown := sorted(set(record.flags) - set(Flag)):
        yield f"it has the flag {unknown[0][:50]!r}, which there is not"
    try:
        started = datetime.fromisoformat(record.started_at)
        is_utc = started.utcoffset() == timedelta(0)
    except ValueError:
        is_utc = False
    if not is_utc:
        yield f"it says that it was measured at {record.started_at[:50]!r}, which is no time in UTC"
    elif not FIRST_DAY <= started <= datetime.now(UTC) + timedelta(days=1):
        yield f"it says that it was measured at {record.started_at}, when it cannot have been"


def _parameter_words(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is shown of parameters: what to call each text, and the text."""
    rest: list[tuple[str, object]] = [("parameters", parameters)]
    while rest:
        name, value = rest.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not PARAMETER.fullmatch(key):
                    yield "name of a parameter", f"<{key}>"
                rest.append((f"parameter {key}", inner))
        elif isinstance(value, list):
            rest += [(name, inner) for inner in value]
        else:
            yield name, str(value)


def check_code(home: Path, records: Sequence[Record]) -> Iterator[str]:
    """Complaints about the code of an entry whose method does not come with the harness.

    Args:
        home: the folder of the entry.
        records: all records of the entry.
    """
    record = records[0]
    if record.distribution is None:
        try:
            read_file(home / SOURCE, MOST_TEXT_BYTES)
            is_measured = source_sha([home / SOURCE]) == record.source_sha256
        except DoesNotHold:
            is_measured = False
        if not is_measured:
            yield f"{SOURCE} must be the file that was measured: `mubench submit` puts it there"
        return
    line = pinned(home)
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


def pinned(home: Path) -> re.Match[str] | None:
    """The requirement of an entry, if it pins what it installs."""
    try:
        return parse_pinned(read_file(home / REQUIREMENTS, MOST_TEXT_BYTES))
    except DoesNotHold:
        return None


def parse_pinned(content: bytes) -> re.Match[str] | None:
    """The requirement in the content of a file, if it is one that pins what it installs."""
    return PINNED.fullmatch(content.decode("ascii", "replace"))


def origin(requirement: re.Match[str]) -> str:
    """Whose code a requirement installs: the index, or the host, owner and repository."""
    if requirement["address"] is None:
        return "the index"
    address = urlsplit(requirement["address"].removeprefix("git+"))
    owner_and_repository = address.path.partition("@")[0].removesuffix(".git").split("/")[1:3]
    return "/".join([address.netloc, *owner_and_repository])


def _normal(name: str) -> str:
    """The normal spelling of a distribution's name, by which pip finds the distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
