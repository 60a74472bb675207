"""Records are read as written, where they belong, and what is no record is named."""

import pytest

from mubench._util.errors import DoesNotHold
from mubench.record.folder import ResultsFolder, read_record, readout_beside
from tests.helpers.rejections import only_rejected


def test_not_json(lab):
    path, *_ = lab.add_entry("m")
    path.write_bytes(b"\xff{")
    assert only_rejected(lab, path).startswith(f"{path.name} is not a record: Invalid JSON")


def test_a_record_is_read_as_written(lab):
    path = lab.add("m", "a-50")
    record = read_record(path)
    folder = ResultsFolder(lab.results)
    assert path == folder.record(record) == folder / folder.file(record)
    assert path.parent == folder.home(record)
    assert path.with_suffix(".npz") == folder.readout(record) == readout_beside(path)
    text, readout = path.read_bytes(), path.with_suffix(".npz").read_bytes()
    path.unlink()
    assert folder.write(record, readout) == path
    assert (path.read_bytes(), read_record(path)) == (text, record)
    assert folder.golds(record) == [folder.gold(record, gold) for gold in record.golds]
    assert all(gold.is_file() for gold in folder.golds(record))


def test_a_record_without_a_readout_leaves_no_older_one(lab):
    path = lab.add("m", "a-50")
    failed = read_record(path).model_copy(update={"status": "error", "readout_sha256": None})
    assert ResultsFolder(lab.results).write(failed, None) == path
    assert not path.with_suffix(".npz").exists()


@pytest.mark.parametrize(
    "changes",
    [{"source_sha256": "f" * 64}, {"distribution_version": "2"}, {"status": "error"}],
    ids=["another file of that name", "another version", "a failure"],
)
def test_a_success_is_not_lost_to_other_code_or_to_a_failure(lab, capsys, changes):
    path = lab.add("m", "a-50")
    first, readout = read_record(path), path.with_suffix(".npz").read_bytes()
    second = first.model_copy(update=changes)
    folder = ResultsFolder(lab.results)
    folder.write(second, None if second.status == "error" else readout)
    assert read_record(path) == second
    aside = path.parent / "superseded" / f"{first.stem}-{first.source_sha256[:8]}.json"
    assert read_record(aside) == first
    assert aside.with_suffix(".npz").read_bytes() == readout
    assert str(aside) in capsys.readouterr().err
    assert path in list(folder.records()) and aside not in list(folder.records())


def test_the_same_code_renews_its_record(lab, capsys):
    path = lab.add("m", "a-50")
    folder, record = ResultsFolder(lab.results), read_record(path)
    folder.write(record.model_copy(update={"threads": 7}), path.with_suffix(".npz").read_bytes())
    assert read_record(path).threads == 7
    failed = record.model_copy(update={"status": "error"})
    folder.write(failed, None)
    folder.write(record, b"readout")  # a failure is replaced without a trace
    assert [p.name for p in (path.parent / "superseded").glob("*.json")] == [
        f"{record.stem}-{record.source_sha256[:8]}.json"
    ]
    assert capsys.readouterr().err.count("kept as") == 1


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DoesNotHold, match=r"gone\.json cannot be read: No such file"):
        read_record(tmp_path / "gone.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DoesNotHold, match=r"folder\.json cannot be read"):
        read_record(tmp_path / "folder.json")
