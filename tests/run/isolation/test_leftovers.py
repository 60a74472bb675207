"""What a run leaves where all programs may write."""

import ctypes

import pytest

from mubench.run.isolation import leftovers
from mubench.run.isolation.leftovers import left_since, shared_things
from tests.helpers.processes import ON_LINUX


def test_new_files_are_found_and_folders_of_runs_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "SHARED_FOLDERS", (str(tmp_path), str(tmp_path / "absent")))
    (tmp_path / "old").touch()
    before = shared_things()
    (tmp_path / "new").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "mubench-ab12_x9z").mkdir()
    assert left_since(before) == [str(tmp_path / "link"), str(tmp_path / "new")]
    assert left_since(shared_things()) == []


@pytest.mark.skipif(not ON_LINUX, reason="only Linux lists them")
def test_segments_of_shared_memory_are_found():
    libc = ctypes.CDLL(None)
    before = shared_things()
    segment = libc.shmget(0, 4096, 0o1600)
    try:
        if segment == -1:
            pytest.skip("this system has no System V memory")
        assert f"System V memory {segment}" in shared_things() - before
    finally:
        libc.shmctl(segment, 0, None)
