"""`mubench submit` and `mubench verify`: from records to an entry, and what is wrong told."""

import json
import shutil
from pathlib import Path

import pytest

from mubench.gate.entry import review
from tests.helpers.commands import call
from tests.helpers.entries import FILE, HOME
from tests.helpers.lab import edit

# ---- submit --------------------------------------------------------------------------------------


def test_a_submission_holds_records_readouts_golds_and_source(entry, author):
    files = sorted(path.relative_to(entry).as_posix() for path in entry.rglob("*.*"))
    records = [f for f in files if f.startswith(str(HOME))]
    assert [Path(f).suffix for f in records] == [".json", ".npz", ".json", ".npz", ".py"]
    assert sum(f.startswith("small/golds/") for f in files) == 4
    assert sum(f.startswith("small/originals/") for f in files) == 2
    assert len(files) == 11
    assert (entry / HOME / "source.py").read_bytes() == (author / "gentle_ascent.py").read_bytes()
    assert review(entry).complaints == ()
    assert call("verify", entry).exit_code == 0


def test_submitting_twice_changes_nothing(entry):
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small", "--to", entry)
    assert done.exit_code == 0
    assert review(entry).complaints == ()


def test_changed_code_must_be_measured_again(entry, tmp_path):
    file = tmp_path / "gentle_ascent.py"
    file.write_text(Path("gentle_ascent.py").read_text() + "# changed\n")
    done = call("submit", f"{file}:GentleAscent", "--task", "small", "--to", tmp_path / "to")
    assert done.exit_code == 2
    assert "was changed since it was measured on b-6, d-6" in " ".join(done.stderr.split())
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "lr=0.5"], "(2 with other parameters: --preset and --set as for the run)"),
        (["--results", "nowhere"], "has no such records; `mubench run"),
        (["--set", "lrr=1"], "did you mean 'lr'"),
    ],
)
def test_what_was_not_measured_is_not_submitted(entry, arguments, expected):
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small", *arguments)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.split())


def test_an_incomplete_entry_is_refused(entry, tmp_path):
    results = shutil.copytree("results", tmp_path / "part")
    for path in (results / HOME).glob("d-6*"):
        path.unlink()
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small",
                "--results", results, "--to", tmp_path / "to")  # fmt: skip
    assert done.exit_code == 2
    assert "1 of the 2 cases of small@1" in done.stderr
    assert not (tmp_path / "to").exists()


def test_golds_of_ones_own_do_not_replace_published_ones(entry):
    gold = next((entry / "small/golds").iterdir())
    gold.write_bytes(b"published")
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small", "--to", entry)
    assert done.exit_code == 2
    assert gold.name in done.stderr
    assert "gold import" in done.stderr


PIN = "gentle-ascent @ git+https://example.org/x@" + "0" * 40


@pytest.mark.slow
def test_an_installed_method_is_pinned(entry, author, tmp_path):
    run = call("run", "--method", "gentle-ascent", "--task", "small", "--cases", "all",
               "--out", tmp_path / "mine")  # fmt: skip
    assert run.exit_code == 0, run.output
    submit = ("submit", "gentle-ascent", "--task", "small", "--results", tmp_path / "mine", "--to")
    info = next((author / "site").glob("gentle_ascent*.dist-info"))

    done = call(*submit, tmp_path / "index")  # as if from an index
    assert done.exit_code == 0, done.output
    line = (tmp_path / "index" / HOME / "requirements.txt").read_text()
    assert line == "gentle-ascent==0.1.0\n"

    origin = {"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    assert call(*submit, tmp_path / "git").exit_code == 0
    assert (tmp_path / "git" / HOME / "requirements.txt").read_text() == PIN + "\n"

    (info / "direct_url.json").write_text('{"url": "file:///home/me/x", "dir_info": {}}')
    refused = call(*submit, tmp_path / "folder")
    assert refused.exit_code == 2
    assert "installed from a folder" in refused.stderr
    assert call(*submit, tmp_path / "told", "--requirement", PIN).exit_code == 0
    assert call(*submit, tmp_path / "bad", "--requirement", "gentle-ascent").exit_code == 2
    (info / "direct_url.json").unlink()
    (info / "RECORD").rename(tmp_path / "RECORD")  # as of a source folder
    assert call(*submit, tmp_path / "folder").exit_code == 2
    (tmp_path / "RECORD").rename(info / "RECORD")

    # by its file first, then by its name
    shutil.copytree("submission", tmp_path / "both")
    assert call(*submit, tmp_path / "both").exit_code == 0
    assert review(tmp_path / "both").complaints == ()
    assert not (tmp_path / "both" / HOME / "source.py").exists()

    requirements = tmp_path / "index" / HOME / "requirements.txt"
    for text, expected in [
        ("gentle-ascent==0.2.0\n", "installs version 0.2.0, measured was 0.1.0"),
        ("other==0.1.0\n", "installs other, measured was gentle-ascent"),
        ("gentle-ascent>=0.1.0\n", "must be one line that pins"),
        ("gentle-ascent==0.1.0\n--pre\n", "must be one line that pins"),
    ]:
        requirements.write_text(text)
        (complaint,) = review(tmp_path / "index").complaints
        assert expected in complaint


# ---- verify --------------------------------------------------------------------------------------


def spoil_number(entry):
    edit(next((entry / HOME).glob("b-6*.json")), metrics__delta__value=1.25)


def spoil_attack(entry):
    path = next((entry / HOME).glob("b-6*.json"))
    metrics = json.loads(path.read_text())["metrics"]
    edit(path, metrics__mia_auc__value=metrics["mia_auc"]["value"] / 2)


def spoil_case(entry):
    for path in (entry / HOME).glob("d-6*"):
        path.unlink()


def spoil_place(entry):
    path = next((entry / HOME).glob("b-6*.json"))
    path.rename(path.with_name("d-6-seed7-00000000.json"))


def spoil_spec(entry):
    edit(next((entry / HOME).glob("b-6*.json")), spec_sha="0" * 64)


def spoil_schema(entry):
    edit(next((entry / HOME).glob("b-6*.json")), surprise=1)


def spoil_golds(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, forget_sha256="0" * 64)


def spoil_control(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, requires=["forget", "gold_labels"])


def spoil_code(entry):
    edit(next((entry / HOME).glob("b-6*.json")), source_sha256="0" * 64)


@pytest.mark.parametrize(
    ("spoil", "place", "expected"),
    [
        (spoil_number, f"{FILE}", "states delta = 1.25, and should"),
        (spoil_attack, f"{FILE}", "mia_auc"),
        (spoil_case, f"{HOME}", "1 of the 2 cases of small@1"),
        (spoil_place, f"{HOME}/d-6-seed7", "not where it belongs"),
        (spoil_spec, f"{FILE}", "spec"),
        (spoil_schema, f"{FILE}", "surprise"),
        (spoil_golds, f"{HOME}", "golds that are not those of its D_f"),
        (spoil_control, f"{HOME}", "controls come with mubench only"),
        (spoil_code, f"{HOME}", "different versions of the code"),
        (lambda e: next((e / HOME).glob("b-6*.npz")).unlink(), FILE, "missing"),
        (lambda e: (e / HOME / "source.py").unlink(), f"{HOME}", "source.py must be the file"),
        (lambda e: (e / HOME / "source.py").write_text("#"), f"{HOME}", "source.py must be"),
        (lambda e: (e / HOME / "notes.txt").write_text("x"), f"{HOME}/notes.txt", "not belong"),
    ],
)  # fmt: skip
def test_each_complaint_is_a_line_that_names_its_file(entry, spoil, place, expected):
    spoil(entry)
    done = call("verify", entry)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith(place) and expected in line for line in lines), lines


def test_a_wrong_folder_is_wrong_usage(entry, tmp_path):
    (tmp_path / "empty").mkdir()
    done = call("verify", tmp_path / "empty")
    assert done.exit_code == 2
    assert "give the folder above the tasks" in done.stderr
    assert "git cannot compare" in call("verify", entry, "--base", "main").stderr
