"""Measuring published records again."""

import re
from collections import Counter

import pytest

from mubench._util.errors import UserError
from mubench.gate.entry import review
from mubench.method.source import source_sha
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder, read_record
from mubench.run.rerun import choose, measure_published
from tests.helpers.commands import call
from tests.helpers.entries import HOME
from tests.helpers.lab import Lab, edit, make_task
from tests.helpers.repositories import git


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three entries on four cases."""
    lab = Lab(tmp_path_factory.mktemp("lab") / "results", make_task())
    for method in ("one", "two", "three"):
        lab.add_entry(method)
    return read_results(lab.results, [lab.task]).checked


def names(chosen):
    return [one.file for one in chosen]


def test_the_text_chooses_whatever_the_order(records):
    first = names(choose(records, 5, "a commit"))
    assert first == names(choose(records[::-1], 5, "a commit"))
    assert first[:3] == names(choose(records, 3, "a commit"))
    others = {tuple(names(choose(records, 1, f"commit {n}"))) for n in range(40)}
    assert len(others) > 8, "every record can be the first"


def test_what_is_chosen_is_spread_over_entries_and_cases(records):
    chosen = choose(records, 4, "a commit")
    assert sorted(Counter(one.record.method for one in chosen).values()) == [1, 1, 2]
    assert len({one.record.case for one in chosen}) == 4
    assert len(choose(records, 99, "a commit")) == 12


def test_contents_do_not_count(records):
    """Otherwise an author could try contents until the hash suits."""
    changed = [
        type(one)(one.file, one.record.model_copy(update={"device": "x"}), {}, {}, {}, {}, None)
        for one in records
    ]
    assert names(choose(changed, 3, "a commit")) == names(choose(records, 3, "a commit"))


def test_a_rerun_agrees_with_an_honest_record(entry):
    before = set(entry.rglob("*"))
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 0, done.output
    assert "measuring again: small/gentle-ascent/" in done.stderr
    assert re.search("chosen by --rerun-seed [0-9a-f]{32}\n", done.stderr), "at random, and said"
    assert set(entry.rglob("*")) == before


def test_the_commit_of_the_results_chooses_and_a_mark_is_left(entry, tmp_path):
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "merged")
    done = call("verify", entry, "--rerun", 1, "--write")
    assert done.exit_code == 0, done.output
    commit = (tmp_path / ".git/refs/heads/main").read_text().strip()
    assert f"1 of 2 records, chosen by --rerun-seed {commit}\n" in done.stderr
    (mark,) = (entry / HOME / "again").glob("*.json")
    assert f'"chosen_by": "{commit}"' in mark.read_text()
    assert review(entry).complaints == ()
    git(tmp_path, "checkout", "-b", "again")
    assert review(entry, "main").complaints == ()
    assert call("leaderboard", "--results", entry, "--page", tmp_path / "page.md").exit_code == 0
    assert "1 of 2" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("option", [["--write"], ["--fresh-draw"], ["--rerun-seed", "x"]])
def test_options_of_a_rerun_need_one(entry, option):
    done = call("verify", entry, *option)
    assert done.exit_code == 2
    assert "need --rerun N" in done.stderr


@pytest.mark.parametrize("source", [b"(" * 5000, b"\xff", b"x = 1\0", b"def f(:", b"x = 1"])
def test_a_source_without_the_method(entry, tmp_path, source):
    (entry / HOME / "source.py").write_bytes(source)
    record = read_record(next((entry / HOME).glob("b-6*.json")))
    with pytest.raises(UserError, match=r"source\.py (is no Python|has no class that is called)"):
        measure_published(ResultsFolder(entry), record, None, None, ResultsFolder(tmp_path / "to"))


def test_a_rerun_finds_what_the_code_does_not_give(entry):
    """Readouts that hold, claimed for code that does something else."""
    source = entry / HOME / "source.py"
    text = source.read_text()
    for old, new in (("problem.schedule_share(self.epochs)", "20"), ("lr=self.lr", "lr=0.1")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    source.write_text(text)
    for path in (entry / HOME).glob("*.json"):
        edit(path, source_sha256=source_sha([source]))
    assert review(entry).complaints == ()
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 1
    assert "measured again, epochs_equivalent is" in done.stdout
    assert "measured again, activation_distance is" in done.stdout
