"""What a pull request adds to what was published, and must not touch there."""

import shutil

import pytest

from mubench.gate.entry import review
from tests.helpers.entries import HOME
from tests.helpers.lab import edit
from tests.helpers.repositories import git


@pytest.fixture
def published(entry, tmp_path):
    """The results in a repository, committed on `main`, with a branch checked out."""
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "published")
    git(tmp_path, "checkout", "-b", "entry")
    return entry


def test_what_is_as_published_is_not_checked_again(published):
    found = review(published, "main")
    assert (found.checked, found.complaints) == ((), ())


def copy_as(results, name, **changes):
    """The entry under another name."""
    home = results / HOME.with_name(name)
    shutil.copytree(results / HOME, home)
    for path in home.glob("*.json"):
        edit(path, method=name, **changes)


def test_an_added_entry_is_checked(published):
    copy_as(published, "other")
    found = review(published, "main")
    assert found.complaints == ()
    assert {checked.record.method for checked in found.checked} == {"other"}
    edit(next(published.glob("small/other/b-6*.json")), metrics__delta__value=1.25)
    assert any("states delta" in line for line in review(published, "main").complaints)


@pytest.mark.parametrize("kind", ["changed", "removed"])
@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_published_files_stay(published, kind, suffix):
    path = next((published / HOME).glob(f"b-6*.{suffix}"))
    path.write_bytes(path.read_bytes() + b"\n") if kind == "changed" else path.unlink()
    complaints = review(published, "main").complaints
    assert any(f"b-6-seed0-{path.stem[-8:]}.{suffix}: is published and was {kind}" in line
               for line in complaints)  # fmt: skip


def test_published_golds_stay(published):
    next((published / "small/golds").iterdir()).unlink()
    complaints = review(published, "main").complaints
    assert any("gold import" in line for line in complaints)


def test_a_new_version_replaces_its_own_records(published, tmp_path):
    def release(version, distribution="gentle-ascent"):
        for path in (published / HOME).glob("*.json"):
            edit(path, distribution=distribution, distribution_version=version)
        pin = f"{distribution}=={version}\n"
        (published / HOME / "requirements.txt").write_text(pin)
        (published / HOME / "source.py").unlink(missing_ok=True)

    def complaints():
        return [line for line in review(published, "main").complaints if "is published" in line]

    release("0.1.0")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "a distribution's records")
    git(tmp_path, "branch", "-f", "main")
    assert not complaints()
    release("0.2.0")
    assert not complaints()
    release("0.2.0", "somebody-else")
    assert complaints()
