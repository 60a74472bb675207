"""`mubench gold`: list, verify, export and import."""

from dataclasses import replace
from pathlib import Path

from mubench.cli.loading import load
from mubench.gold.library import READOUT, READOUTS
from mubench.gold.train import train
from mubench.record.check import read_results
from mubench.record.readout import parse_readout, readout_bytes
from tests.helpers.commands import RUN, call
from tests.helpers.tiny import TINY


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


AUDITED = """
"b", "d" -> "a", "b"
6, 12 -> 20
golds = 2 -> golds = 3
epochs = 3 -> epochs = 1
"""


def test_gold_audit_attacks_originals_and_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "cache"))
    text = TINY
    for change in AUDITED.strip().splitlines():
        text = text.replace(*change.split(" -> "))
    Path("audited.toml").write_text(text)
    library = load("audited.toml", "cpu")
    for ref in library.needed(library.loaded.cases):
        train(library, ref)
    run = call("run", "--task", "audited.toml", "--method", "original", "--cases", "all")
    assert run.exit_code == 0, run.output
    result = call("gold", "audit", "--task", "audited.toml", "--results", "results",
                  "--samples", "samples.csv")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert rows["golds"][-2:] == ["0.500", "1.0"]
    assert rows["original"] == rows["originals"], "a record's readout gives what the cache gives"
    assert "points; by 50 or more on" in result.output
    assert not any("shadows" in str(path) for path in Path("results").rglob("*")), "nothing asked"
    header, *samples = Path("samples.csv").read_text().splitlines()
    assert header == "case,sample,memorisation"
    assert [line.rpartition(",")[0] for line in samples] == [
        f"{case},{sample}" for case in ("a-20", "b-20") for sample in range(20)
    ]

    before = read_results("results", [library.loaded.task])
    written = call("gold", "audit", "--task", "audited.toml", "--results", "results", "--write")
    assert "2 records in results are audited" in written.stderr
    read = read_results("results", [library.loaded.task], thorough=True)
    assert read.rejected == ()
    for one, earlier in zip(read.checked, before.checked, strict=True):
        assert one.record.model_copy(update={"audit": None}) == earlier.record
    mean = sum(one.record.audit.auroc for one in read.checked) / len(read.checked)
    assert f"{mean:.3f}" == rows["original"][0], "records say what the table says"
    elsewhere(library, library.loaded.golds(library.loaded.cases[0])[0])
    refused = call("gold", "audit", "--task", "audited.toml", "--results", "results", "--write")
    assert refused.exit_code == 2
    assert "a-20-seed0" in refused.stderr
    assert "golds that were trained elsewhere" in refused.stderr


def elsewhere(library, ref):
    """Puts another readout into the place of a gold's, as of a gold that was imported."""
    key = library.loaded.readout_key(ref, ref.case)
    entry = library.store.read(READOUTS, key)
    other = replace(parse_readout(entry.content(READOUT), "a readout"), retain_correct=0)
    files = {READOUT: readout_bytes(other)}
    library.store.write(READOUTS, key, files, entry.provenance, replace=True)


def test_writing_audits_needs_a_folder_of_records(folder):
    result = call("gold", "audit", "--task", "tiny.toml", "--write")
    assert result.exit_code == 2
    assert "--results" in result.stderr


def test_gold_audit_says_what_it_needs(folder):
    result = call("gold", "audit", "--task", "tiny.toml")
    assert result.exit_code == 2
    assert "needs two cases and 3 golds per case" in result.output
