"""`mubench run`: its table and record, and what a user's mistake is told."""

from pathlib import Path

import pytest

from tests.helpers.commands import RUN, call
from tests.helpers.methods import PLUGIN
from tests.helpers.tiny import TINY


def test_a_run_prints_a_table_and_writes_a_record(folder):
    result = call(*RUN)
    assert result.exit_code == 0, result.output
    assert "my-method" in result.stdout
    assert "another gold" in result.stdout
    assert "1 of 4 cases: a leaderboard entry needs 3 more cases (--cases all)." in result.stdout
    assert "all 3 models are cached" in result.stderr
    assert len(list(Path("results/tiny/my-method").glob("b-6-seed0-*.json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--task", "tinny.toml"), "there is no file tinny.toml"),
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
