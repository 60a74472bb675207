"""The claims ledger: what a method's paper says, and how far the method here follows it.

A package that brings methods may have a folder `ledger` with a file `NAME.toml` for each of them,
NAME being that of the entry point. `mubench show NAME` and the page of the method print it. It is
found without importing the package.
"""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from mubench._util.toml import read_model
from mubench.method.discovery import available_methods
from mubench.record.measures import MEASURES

FOLDER = "ledger"
NOT_STATED, NOT_RECORDED = "not stated", "none recorded"

Text = Annotated[str, AfterValidator(lambda text: " ".join(text.split())), Field(min_length=1)]
Pattern = StringConstraints

SCENARIOS = {
    "subset": "a part of a class",
    "class": "a whole class",
    "random": "images of all classes",
}
"""Kinds of forget sets, as tasks have them, in words."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _known(measure: str) -> str:
    if measure not in MEASURES:
        raise ValueError(f"there is no measure {measure!r}")
    return measure


class Claim(_Part):
    """A number that a paper, or the authors' own notebook, prints of a method."""

    metric: Text
    """What the number is, with its unit."""
    value: float
    setting: Text
    """Data, network and forget set."""
    where: Text
    """The place of the number, such as `table 1`."""
    paper: Text | None = None
    """arXiv id of the paper, if it is another."""
    measure: Annotated[str, AfterValidator(_known)] | None = None
    """The measure of the board that is the same number. None: the board has none."""
    task: Text | None = None
    """Name of the task whose setting is nearest. None: no task is near."""


class Fault(_Part):
    """What is broken in the official code."""

    what: Text
    issues: tuple[Annotated[str, Pattern(pattern=r"^[\w.-]+/[\w.-]+#\d+$")], ...] = ()
    """The issues that say so, such as `owner/name#1`. None: it was read in the code."""


class Verified(_Part):
    """Who compared the method here with its paper, and how."""

    by: Text
    tests: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Tests that pin the update, such as `tests/methods/test_scrub.py::test_name`."""


class Ledger(_Part):
    """What is known of a published method. What a ledger does not say is not stated."""

    paper: Text
    """Title."""
    venue: Text | None = None
    arxiv: Annotated[str, Pattern(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    code: Annotated[str, Pattern(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """Repository of the code that was read, as `owner/name`."""
    commit: Annotated[str, Pattern(pattern=r"^[0-9a-f]{7,40}$")] | None = None
    """The commit that was read."""
    code_note: Text | None = None
    """Whose code it is, if it is not the authors'."""
    access: Annotated[
        tuple[Literal["forget", "retain", "holdout", "training_log", "shards", "update_log"], ...],
        Field(min_length=1),
    ]
    """What the paper's method is given."""
    design: tuple[Literal["subset", "class", "random"], ...] = ()
    """The forget sets that the method is made for. On others its use is off-design."""
    claims: tuple[Claim, ...] = ()
    claims_sought: Text | None = None
    """What was read for claims where none was found."""
    broken: tuple[Fault, ...] = ()
    departures: tuple[Text, ...] = ()
    """Where the defaults here leave the paper, and why."""
    seen: tuple[Text, ...] = ()
    """What was found when the method ran here and no record shows, with its measurement."""
    verified: Verified

    @property
    def made_for(self) -> str:
        """The forget sets that the method is made for, in words."""
        return ", ".join(SCENARIOS[kind] for kind in self.design) or NOT_STATED

    def is_off_design(self, kind: str) -> bool:
        """True if the method is made for other forget sets.

        Args:
            kind: of the forget sets, as a task states it.
        """
        return bool(self.design) and kind not in self.design


def read_ledger(file: Path) -> Ledger:
    """A ledger from its file.

    Raises:
        UserError: the file is no ledger; the message names the file and every mistake.
    """
    return read_model(Ledger, file, str(file))


def ledger_of(name: str, entries: Sequence[EntryPoint]) -> Ledger | None:
    """The ledger of an installed method. None: its package brings none.

    Args:
        name: of the method.
        entries: its entry points; if several packages claim the name, no ledger is its.

    Raises:
        UserError: the file is no ledger.
    """
    if len(entries) != 1:
        return None
    spec = importlib.util.find_spec(entries[0].module.partition(".")[0])
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / FOLDER / f"{name}.toml"
        if file.is_file():
            return read_ledger(file)
    return None


def ledgers() -> dict[str, Ledger]:
    """Name to ledger, of all installed methods that have one.

    Raises:
        UserError: a file is no ledger.
    """
    found = {name: ledger_of(name, entries) for name, entries in available_methods().items()}
    return {name: ledger for name, ledger in found.items() if ledger}


def sheet(ledger: Ledger) -> list[tuple[str, str]]:
    """A ledger as rows of a table: what, and what is known of it.

    Args:
        ledger: of a method.
    """
    paper = ledger.paper + (f" ({ledger.venue})" if ledger.venue else "")
    code = ledger.code or NOT_STATED
    code += f" at {ledger.commit}" if ledger.commit else ""
    claims = [f"{_claim_text(claim)}, {claim.setting} ({claim.where})" for claim in ledger.claims]
    sought = f"none found in {ledger.claims_sought}" if ledger.claims_sought else NOT_RECORDED
    broken = [
        fault.what + (f" ({', '.join(fault.issues)})" if fault.issues else "")
        for fault in ledger.broken
    ]
    tests = ", ".join(test.rpartition("::")[2] for test in ledger.verified.tests)
    rows = [
        ("paper", paper + (f", arXiv:{ledger.arxiv}" if ledger.arxiv else "")),
        ("official code", code + (f"; {ledger.code_note}" if ledger.code_note else "")),
        ("access in the paper", ", ".join(ledger.access)),
        ("made for forgetting", ledger.made_for),
        ("claims", "; ".join(claims) or sought),
        ("broken in that code", " ".join(broken) or NOT_RECORDED),
        ("departures of the default", " ".join(ledger.departures) or NOT_RECORDED),
        ("verified", f"by {ledger.verified.by}: {tests}"),
    ]
    return rows + [("seen here", " ".join(ledger.seen))] * bool(ledger.seen)


def _claim_text(claim: Claim) -> str:
    """The metric, its number, and whose number it is if it is another paper's."""
    source = f" by arXiv:{claim.paper}" if claim.paper else ""
    return f"{claim.metric} {claim.value:g}{source}"
