"""What a pull request adds to what was published, and must not touch there."""

import os
import shutil
from pathlib import Path

import pytest

from mubench._util.hashing import sha256_of
from mubench.gate.entry import _shared_names, review
from mubench.record.again import mark_file, write_mark
from mubench.record.check import Checked
from mubench.record.folder import ResultsFolder, read_record
from tests.helpers.entries import HOME, made_mark
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


def test_a_new_version_from_elsewhere_is_somebody_elses(published, tmp_path):
    """Anyone can give a distribution the name of a published one."""

    def release(version, owner):
        for path in (published / HOME).glob("*.json"):
            edit(path, distribution="gentle-ascent", distribution_version=version)
        pin = f"gentle-ascent @ git+https://example.org/{owner}/gentle@{version[0] * 40}\n"
        (published / HOME / "requirements.txt").write_text(pin)
        (published / HOME / "source.py").unlink(missing_ok=True)

    release("1", "alice")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "a distribution's records")
    git(tmp_path, "branch", "-f", "main")
    release("2", "alice")
    assert review(published, "main").complaints == ()
    release("2", "mallory")
    assert any("is published and was changed" in line
               for line in review(published, "main").complaints)  # fmt: skip
    release("2", "alice")
    (published / HOME / "requirements.txt").write_text("gentle-ascent==2\n")
    assert any("is published and was changed" in line
               for line in review(published, "main").complaints)  # fmt: skip


@pytest.mark.parametrize(
    "file", ["run.py", "small/setup.py", f"{HOME}/code/helper.py", "small/golds/x/y.npz"]
)
def test_what_a_change_brings_besides_is_found(published, file):
    path = published / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    complaints = review(published, "main").complaints
    assert any("does not belong here" in line for line in complaints), complaints


def test_a_name_that_is_no_text_is_a_line(published):
    (published / HOME / os.fsdecode(b"\xff\n.py")).write_text("x")
    (line,) = review(published, "main").complaints
    assert line == f"{HOME}/\\udcff\\n.py: does not belong here"


def test_marks_come_after_the_entry(published, tmp_path):
    path = next((published / HOME).glob("b-6*.json"))
    folder, file = ResultsFolder(published), f"{HOME.as_posix()}/{path.name}"
    write_mark(folder, file, made_mark(sha256_of(path.read_bytes())))
    assert review(published, "main").complaints == ()
    copy_as(published, "other")
    assert any("come in a change of their own" in line
               for line in review(published, "main").complaints)  # fmt: skip
    shutil.rmtree(published / "small/other")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "a mark")
    git(tmp_path, "branch", "-f", "main")
    (folder / mark_file(file)).unlink()
    assert any("is a published mark and was removed" in line
               for line in review(published, "main").complaints)  # fmt: skip


def test_a_name_is_one_authors_on_all_tasks(published):
    """Somebody else's records of another task, under the name of a published method."""

    def added(**changes):
        task = read_record(next((published / HOME).glob("b-6*.json")))
        other = task.model_copy(update={"task": "other@1", **changes})
        return Checked("other/gentle-ascent/b.json", other, {}, {}, {}, {}, None)

    (own,) = {Path(one.file).parent for one in review(published).checked}
    mine = [*review(published).checked, added()]
    assert list(_shared_names([own], mine)) == []
    theirs = [*review(published).checked, added(source_sha256="0" * 64)]
    (line,) = _shared_names([Path("other/gentle-ascent")], theirs)
    assert (
        line
        == f"other/gentle-ascent: is of another author's code than {HOME}: give it another name"
    )
