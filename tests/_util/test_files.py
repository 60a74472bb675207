"""Files that a reader sees whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from mubench._util.files import temporary_beside, write_atomic


def test_write_atomic_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_is_named_and_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"one")

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(path, b"two")
    assert caught.value.filename == str(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"one")]


def test_a_temporary_file_lies_beside_its_place(tmp_path):
    """A rename works on one file system only, and a folder of results can be on another one."""
    path = tmp_path / "deep" / "file"
    assert temporary_beside(path).parent == path.parent


def test_files_go_to_another_file_system(tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    path = other / f"mubench-{os.getpid()}"
    try:
        write_atomic(path, b"one")
        assert path.read_bytes() == b"one"
    finally:
        path.unlink(missing_ok=True)
