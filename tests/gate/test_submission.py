"""From records to an entry, what is asked of one, and what a pull request must not touch."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.gate.entry import review
from mubench.method import scaffold
from mubench.method.discovery import source_sha
from tests.helpers.lab import edit
from tests.helpers.packages import install
from tests.helpers.places import ROOT
from tests.helpers.tiny import TINY

HOME = Path("small/gentle-ascent")
FILE = "small/gentle-ascent/b-6-seed0"


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    """An author's folder: a small task and the new method installed, all cases measured."""
    folder = tmp_path_factory.mktemp("author")
    site = folder / "site"
    tasks = folder / "tasks"
    (tasks / "small_tasks").mkdir(parents=True)
    (tasks / "small_tasks/__init__.py").write_text("")
    text = TINY.replace('"tiny"', '"small"').replace("[6, 12]", "[6]")
    (tasks / "small_tasks/small.toml").write_text(text)
    (tasks / "pyproject.toml").write_text(
        '[project]\nname = "small-tasks"\nversion = "1.0"\n'
        '[project.entry-points."mubench.tasks"]\nsmall = "small_tasks"\n'
        '[tool.setuptools]\npackages = ["small_tasks"]\n'
    )
    install(tasks, site)
    scaffold.new_method("gentle-ascent", folder)
    install(folder / "gentle-ascent", site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("MUBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        shutil.copy("gentle-ascent/gentle_ascent.py", ".")
        done = call("run", "--method", "./gentle_ascent.py:GentleAscent", "--task", "small",
                    "--cases", "all")  # fmt: skip
        assert done.exit_code == 0, done.output
        yield folder
    # imported by its entry point: left there, its name would count as taken in other tests
    sys.modules.pop("gentle_ascent", None)


@pytest.fixture(scope="module")
def submission(author):
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small")
    assert done.exit_code == 0, done.output
    assert "leaderboard/results" in done.stderr
    return author / "submission"


@pytest.fixture
def entry(author, submission, tmp_path, monkeypatch):
    """A copy of the submission, to be spoiled."""
    monkeypatch.setenv("MUBENCH_CACHE", str(author / "cache"))
    monkeypatch.chdir(author)
    return shutil.copytree(submission, tmp_path / "results")


# ---- submit -------------------------------------------------------------------------------------


def test_a_submission_holds_records_readouts_golds_and_source(entry, author):
    files = sorted(path.relative_to(entry).as_posix() for path in entry.rglob("*.*"))
    records = [f for f in files if f.startswith(str(HOME))]
    assert [Path(f).suffix for f in records] == [".json", ".npz", ".json", ".npz", ".py"]
    assert sum(f.startswith("small/golds/") for f in files) == 4
    assert len(files) == 9
    assert (entry / HOME / "source.py").read_bytes() == (author / "gentle_ascent.py").read_bytes()
    assert review(entry).problems == ()
    assert call("verify", entry).exit_code == 0


def test_submitting_twice_changes_nothing(entry):
    done = call("submit", "./gentle_ascent.py:GentleAscent", "--task", "small", "--to", entry)
    assert done.exit_code == 0
    assert review(entry).problems == ()


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
        (["--set", "lr=0.5"], "(2 with other parameters: --set as for the run)"),
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
    assert review(tmp_path / "both").problems == ()
    assert not (tmp_path / "both" / HOME / "source.py").exists()

    requirements = tmp_path / "index" / HOME / "requirements.txt"
    for text, expected in [
        ("gentle-ascent==0.2.0\n", "installs version 0.2.0, measured was 0.1.0"),
        ("other==0.1.0\n", "installs other, measured was gentle-ascent"),
        ("gentle-ascent>=0.1.0\n", "must be one line that pins"),
        ("gentle-ascent==0.1.0\n--pre\n", "must be one line that pins"),
    ]:
        requirements.write_text(text)
        (problem,) = review(tmp_path / "index").problems
        assert expected in problem


# ---- verify -------------------------------------------------------------------------------------


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
def test_each_problem_is_a_line_that_names_its_file(entry, spoil, place, expected):
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


# ---- what was published -------------------------------------------------------------------------


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


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
    assert (found.checked, found.problems) == ((), ())


def copy_as(results, name, **changes):
    """The entry under another name."""
    home = results / HOME.with_name(name)
    shutil.copytree(results / HOME, home)
    for path in home.glob("*.json"):
        edit(path, method=name, **changes)


def test_an_added_entry_is_checked(published):
    copy_as(published, "other")
    found = review(published, "main")
    assert found.problems == ()
    assert {checked.record.method for checked in found.checked} == {"other"}
    edit(next(published.glob("small/other/b-6*.json")), metrics__delta__value=1.25)
    assert any("states delta" in line for line in review(published, "main").problems)


@pytest.mark.parametrize("kind", ["changed", "removed"])
@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_published_files_stay(published, kind, suffix):
    path = next((published / HOME).glob(f"b-6*.{suffix}"))
    path.write_bytes(path.read_bytes() + b"\n") if kind == "changed" else path.unlink()
    problems = review(published, "main").problems
    assert any(f"b-6-seed0-{path.stem[-8:]}.{suffix}: is published and was {kind}" in line
               for line in problems)  # fmt: skip


def test_published_golds_stay(published):
    next((published / "small/golds").iterdir()).unlink()
    problems = review(published, "main").problems
    assert any("gold import" in line for line in problems)


def test_a_new_version_replaces_its_own_records(published, tmp_path):
    def release(version, distribution="gentle-ascent"):
        for path in (published / HOME).glob("*.json"):
            edit(path, distribution=distribution, distribution_version=version)
        pin = f"{distribution}=={version}\n"
        (published / HOME / "requirements.txt").write_text(pin)
        (published / HOME / "source.py").unlink(missing_ok=True)

    def problems():
        return [line for line in review(published, "main").problems if "is published" in line]

    release("0.1.0")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "a distribution's records")
    git(tmp_path, "branch", "-f", "main")
    assert not problems()
    release("0.2.0")
    assert not problems()
    release("0.2.0", "somebody-else")
    assert problems()


# ---- measuring again ----------------------------------------------------------------------------


def test_a_rerun_agrees_with_an_honest_record(entry):
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 0, done.output
    assert "measuring again: small/gentle-ascent/" in done.stderr


def test_a_rerun_finds_what_the_code_does_not_give(entry):
    """Readouts that hold, claimed for code that does something else."""
    source = entry / HOME / "source.py"
    text = source.read_text()
    for old, new in (("problem.schedule_share(self.epochs)", "20"), ("lr=self.lr", "lr=0.1")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    source.write_text(text)
    for path in (entry / HOME).glob("*.json"):
        edit(path, source_sha256=source_sha([source]))
    assert review(entry).problems == ()
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 1
    assert "measured again, epochs_equivalent is" in done.stdout
    assert "measured again, activation_distance is" in done.stdout


# ---- the page -----------------------------------------------------------------------------------


PAGE = ROOT / "leaderboard/SUBMITTING.md"


@pytest.mark.slow
def test_every_command_of_the_page_works(entry, tmp_path, monkeypatch):
    """In an empty folder, on a task that is smaller than the page's."""
    if not PAGE.is_file():
        pytest.skip("runs from an installed wheel")
    text = PAGE.read_text()
    for old, new in (
        ("digits-subset", "small"), ("gentle-ascent", "calm-ascent"),
        ("gentle_ascent", "calm_ascent"), ("GentleAscent", "CalmAscent"),
    ):  # fmt: skip
        text = text.replace(old, new)
    monkeypatch.chdir(tmp_path)
    done = []
    for block in re.findall("```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "cd":
                monkeypatch.chdir(arguments[0])
            elif arguments == ["install", "-e", "."]:
                install(Path(), tmp_path / "site")
                monkeypatch.syspath_prepend(tmp_path / "site")
            elif program == "mubench" and arguments[0] != "gold":
                result = call(*arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}"
                done.append(arguments[0])
    assert done == ["new-method", "show", "check", "run", "run", "run", "submit", "verify",
                    "run", "submit"]  # fmt: skip
    assert call("verify", "submission").exit_code == 0
