"""`mubench gold`: list, verify, export and import."""

from pathlib import Path

from tests.helpers.commands import RUN, call


def test_gold_commands(folder, tmp_path, monkeypatch):
    listed = call("gold", "list", "--task", "tiny.toml")
    rows = [line for line in listed.stdout.splitlines() if "weights" in line]
    assert len(rows) == 3
    assert "gold 1 of d-12" in listed.stdout
    checked = call("gold", "verify", "--task", "tiny.toml")
    assert checked.exit_code == 0
    assert "3 models checked, 0 defects" in checked.stdout
    assert call("gold", "export", "--task", "tiny.toml", "--case", "b-6", "g.zip").exit_code == 0
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "other"))
    assert call("gold", "import", "g.zip").exit_code == 0
    assert "all 3 models are cached" in call(*RUN).stderr
    Path("g.zip").write_bytes(b"x")
    broken = call("gold", "import", "g.zip")
    assert broken.exit_code == 2
    assert "not a bundle" in broken.stderr
