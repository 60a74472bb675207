"""What git says was changed in a folder: committed or not, and only there."""

import pytest

from mubench._util.errors import UserError
from mubench.gate.published import Base, Change
from tests.helpers.repositories import git


@pytest.fixture
def folder(tmp_path):
    """A folder of a repository, published on `main`, with a branch checked out."""
    folder = tmp_path / "results"
    for name in ("kept.json", "changed.json", "removed.json", "small/gold one.npz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"published {name}")
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "published")
    git(tmp_path, "checkout", "-b", "entry")
    return folder


@pytest.mark.parametrize("is_committed", [False, True])
def test_changes_are_told_whether_committed_or_not(folder, is_committed):
    assert Base(folder, "main").changes() == []
    (folder / "changed.json").write_text("other")
    (folder / "removed.json").unlink()
    (folder / "small/gold one.npz").rename(folder / "small/été.npz")
    (folder.parent / "elsewhere.json").write_text("not in the folder")
    if is_committed:
        git(folder.parent, "add", "-A")
        git(folder.parent, "commit", "-m", "entry")
    assert sorted(Base(folder, "main").changes(), key=lambda change: change.file) == [
        Change("changed.json", "changed"),
        Change("removed.json", "removed"),
        Change("small/gold one.npz", "removed"),
        Change("small/été.npz", "added"),
    ]


def test_what_was_published_since_is_not_the_branchs_doing(folder):
    git(folder.parent, "checkout", "main")
    (folder / "kept.json").write_text("a newer one")
    git(folder.parent, "commit", "-am", "newer")
    git(folder.parent, "checkout", "entry")
    assert Base(folder, "main").changes() == []


def test_files_are_read_as_published(folder):
    base = Base(folder, "main")
    changed = (folder / "small/gold one.npz").relative_to(folder)
    (folder / changed).write_text("other")
    (folder / "small/new.npz").write_text("new")
    assert base.files(changed.parent) == ["gold one.npz"]
    assert base.read(changed) == b"published small/gold one.npz"
    assert base.files(changed.parent / "nowhere") == []


def test_a_revision_that_git_does_not_know_is_refused(folder):
    with pytest.raises(UserError, match=r"git cannot compare .* with 'nowhere'"):
        Base(folder, "nowhere")
