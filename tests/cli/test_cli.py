import csv
import io
import json
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench._util.workers import WorkerLost
from mubench.cli.main import main
from mubench.gold import build
from tests.helpers.methods import PLUGIN
from tests.helpers.tiny import TINY


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny, tiny_store):
    """A working folder with a task and a method; the tiny task's models are cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


RUN = ("run", "--task", "tiny.toml", "--method", "./mine.py:MyMethod")


def test_help_imports_no_torch():
    code = (
        "import sys; from mubench.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_list_imports_no_torch():
    code = "import sys; from mubench.cli import main\n"
    code += "for what in ('methods', 'tasks'):\n"
    code += "    try: main(['list', what])\n    except SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'mubench_methods' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "finetune" in done.stdout
    assert "cifar10-subset@1" in done.stdout


def test_every_command_has_help_with_examples():
    def walk(command, path):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, [*path, name])
        else:
            result = call(*path, "-h")
            assert result.exit_code == 0
            assert "Examples:" in result.output, path

    walk(main, [])


def test_a_run_prints_a_table_and_writes_a_record(folder):
    result = call(*RUN)
    assert result.exit_code == 0, result.output
    assert "my-method (seed 0)" in result.stdout
    assert "floor: gold against golds" in result.stdout
    assert "1 of 4 cases: a leaderboard entry needs 3 more cases (--cases all)." in result.stdout
    assert "all 3 models are cached" in result.stderr
    assert len(list(Path("results/tiny/my-method").glob("b-6-seed0-*.json"))) == 1


def test_json_is_a_record_a_line(folder):
    result = call(*RUN, "--format", "json", "--seed", "0", "--seed", "3")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["seed"] for record in records] == [0, 3]
    assert records[0]["metrics"]["delta"]["count"] == 6


def test_csv_has_a_row_a_record(folder):
    result = call(*RUN, "--format", "csv", "--set", "lr=0.3")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert row["method"] == "my-method"
    assert float(row["delta"]) >= 0
    assert row["status"] == "ok"
    (file,) = Path("results/tiny/my-method").glob("*.json")
    assert json.loads(file.read_text())["parameters"]["lr"] == 0.3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--task", "tinny.toml"), "there is no task file tinny.toml"),
        (("--task", "cifar10-subst"), "did you mean 'cifar10-subset'"),
        (("--method", "tmuu"), "did you mean 'tmu'"),
        (("--set", "lrr=1"), "did you mean 'lr'"),
        (("--set", "lr=-1"), "greater than 0"),
        (("--set", "lr"), "is not name=value"),
        (("--case", "b-7"), "did you mean 'b-6'"),
        (("--device", "gpu"), "--device"),
        (("--seed", "-1"), "Invalid value for '--seed'"),
        (("--format", "xml"), "Invalid value for '--format'"),
    ],
)
def test_a_users_mistake_is_one_clear_message(folder, arguments, expected):
    result = call(*RUN, *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_three_mistakes_in_a_task_come_at_once(folder):
    text = TINY.replace("lr = 0.1", "lr = -1").replace("width = 8", "widht = 8")
    Path("tiny.toml").write_text(text.replace("golds = 2", "golds = 0"))
    result = call(*RUN)
    assert result.exit_code == 2
    for path in ("train.lr", "model.widht", "measure.golds"):
        assert path in result.stderr


def test_a_training_that_cannot_end_well_is_one_clear_message(folder, monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", str(folder / "empty"))
    Path("tiny.toml").write_text(TINY.replace("lr = 0.1", "lr = 1e9"))
    result = call("gold", "build", "--task", "tiny.toml", "--case", "b-6")
    assert result.exit_code == 1
    assert "training tiny@1 diverged" in result.stderr
    monkeypatch.setattr(build.LocalExecutor, "submit", lambda *_: lost_future())
    result = call("gold", "build", "--task", "tiny.toml", "--case", "b-6")
    assert result.exit_code == 1
    assert "broke off: its worker was lost" in result.stderr


def lost_future():
    future = Future()
    future.set_exception(WorkerLost("its worker was lost, exit code -9"))
    return future


def test_an_unknown_class_is_named(folder):
    Path("tiny.toml").write_text(TINY.replace('["b", "d"]', '["b", "e"]'))
    result = call(*RUN)
    assert result.exit_code == 2
    assert "no class 'e'" in result.stderr


def test_a_folder_with_a_broken_image_is_named(folder, monkeypatch):
    from PIL import Image

    for part in ("train", "test"):
        for name in ("b", "d"):
            place = folder / "data" / "pictures" / part / name
            place.mkdir(parents=True)
            for number in range(20):
                Image.new("RGB", (8, 8), (number, 9, len(name + part))).save(
                    place / f"{part}{name}{number}.png"
                )
    (folder / "data/pictures/train/b/trainb3.png").write_bytes(b"not an image")
    monkeypatch.setenv("MUBENCH_DATA", str(folder / "data"))
    text = TINY.replace('name = "synthetic"', 'name = "pictures"')
    Path("tiny.toml").write_text(text.replace('kind = "synthetic"', 'kind = "folder"'))
    result = call(*RUN)
    assert result.exit_code == 2
    assert "trainb3.png" in result.stderr
    assert "Traceback" not in result.output


def test_a_method_that_raises_exits_1_without_a_traceback(folder):
    Path("mine.py").write_text(PLUGIN.replace("return problem.original", "return problem.retain"))
    result = call(*RUN)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "error: AccessError: the method touched problem.retain" in result.stdout
    (note,) = Path("results/tiny/my-method").glob("*.traceback.txt")
    assert "AccessError" in note.read_text()


@pytest.mark.slow
def test_what_is_missing_is_told_before_it_is_trained(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "empty"))
    result = call(*RUN)
    assert result.exit_code == 0, result.output
    plan = next(line for line in result.stderr.splitlines() if "models are cached" in line)
    assert "0 of 3 models are cached; training the original, gold 1 of b-6, gold 2 of b-6" in plan
    assert "about" in plan


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


def test_show_tells_parameters_and_access(folder):
    result = call("show", "./mine.py:MyMethod")
    assert result.exit_code == 0
    for words in ("Does a thing", "access: forget", "float > 0", "step size", "inner.depth"):
        assert words in result.stdout
