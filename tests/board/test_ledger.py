"""The ledger of a method: found in its package without importing it, and read strictly."""

import sys
from importlib.metadata import EntryPoint

import pytest

from mubench._util.errors import UserError
from mubench.board.ledger import ledger_of, ledgers, read_ledger, sheet
from tests.helpers.strangers import LEDGER, install

HERE = EntryPoint("gentle", "gentle_pkg.gentle:Gentle", "mubench.methods")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    return lambda ledger=LEDGER: install(tmp_path, monkeypatch, ledger)


def test_a_strangers_ledger_is_found_and_nothing_imported(installed):
    installed()
    ledger = ledgers()["gentle"]
    assert ledger == ledger_of("gentle", [HERE])
    assert ledger.paper == "Gentle Forgetting"
    assert ledger.claims[0].value == 1.5
    assert "gentle_pkg" not in sys.modules


def test_no_ledger(installed):
    installed().unlink()
    assert ledger_of("gentle", [HERE]) is None
    assert ledger_of("gentle", [EntryPoint("gentle", "not_there.x:Y", "g")]) is None


def test_a_name_that_two_packages_claim_has_no_ledger(installed):
    installed()
    assert ledger_of("gentle", [HERE, HERE]) is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('paper = "Gentle Forgetting"', "", "paper: Field required"),
        ('code = "', 'cdoe = "', "cdoe: Extra inputs are not permitted"),
        ("2501.00001", "25.1", "arxiv: "),
        ("abc1234", "main", "commit: "),
        ('["class"]', '["classes"]', "design.0: "),
        ('"delta"\n', '"delat"\n', "there is no measure 'delat'"),
        ("gentle#3", "gentle", "broken.0.issues.0: "),
        ('["tests/test_gentle.py::test_step"]', "[]", "verified.tests: "),
        ("value = 1.5", "value = nan", "claims.0.value: "),
        ('"Gentle', '"""Gentle', "is not TOML"),
    ],
)
def test_a_broken_ledger_is_named_with_its_mistake(installed, old, new, complaint):
    assert old in LEDGER
    file = installed(LEDGER.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        ledgers()
    assert str(file) in str(error.value)
    assert complaint in str(error.value)


def test_sheet(installed):
    rows = dict(sheet(read_ledger(installed())))
    assert rows["paper"] == "Gentle Forgetting, arXiv:2501.00001"
    assert rows["official code"] == "someone/gentle at abc1234"
    assert rows["made for forgetting"] == "a whole class"
    assert rows["claims"] == "mean delta 1.5, made data (table 9)"
    assert rows["broken in that code"] == "It does not run | at all. (someone/gentle#3)"
    assert rows["departures of the default"] == "none recorded"
    assert rows["verified"] == "by its author: test_step"


def test_what_was_seen_here_stands_last_if_there_is_any(installed):
    file = installed()
    plain = sheet(read_ledger(file))
    file.write_text('seen = ["Half of it", """does |\n  nothing."""]\n' + LEDGER)
    assert sheet(read_ledger(file)) == [*plain, ("seen here", "Half of it does | nothing.")]


def test_what_a_ledger_leaves_out_is_said_to_be_left_out(installed):
    short = 'paper = "P"\naccess = ["forget"]\n[verified]\nby = "me"\ntests = ["t.py::test"]\n'
    ledger = read_ledger(installed(short))
    rows = dict(sheet(ledger))
    assert rows["official code"] == rows["made for forgetting"] == "not stated"
    assert rows["claims"] == rows["broken in that code"] == "none recorded"
    assert not ledger.is_off_design("subset")


def test_where_no_claim_was_found_it_is_told_what_was_read(installed):
    start, _, rest = LEDGER.partition("[[claims]]")
    none = 'claims_sought = "the abstract"\n' + start + rest[rest.index("[[broken]]") :]
    assert dict(sheet(read_ledger(installed(none))))["claims"] == "none found in the abstract"


def test_off_design(installed):
    ledger = read_ledger(installed())
    assert ledger.is_off_design("subset")
    assert not ledger.is_off_design("class")
