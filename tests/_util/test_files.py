"""Files that a reader sees whole or not at all."""

from mubench._util.files import write_atomic


def test_write_atomic_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
