"""What makes two measurements the same: the files that take part in measuring, and no others."""

import shutil
import sys
from pathlib import Path

import grimp
import pytest

import mubench
from mubench.record.schema import Record, RecordHead
from mubench.run.machine import TAKES_PART
from tests.helpers.packages import succeed
from tests.helpers.tiny import TINY

SOURCE = Path(mubench.__file__).parent
MEASURING = ("mubench.run.cell", "mubench.run.isolation.child", "mubench.run.isolation.fork_server")
GRID = 'tasks = ["tiny.toml"]\nmethods = ["finetune"]\ncases = ["b-6"]\n'


def test_what_takes_part_is_what_the_measuring_code_imports():
    graph = grimp.build_graph("mubench", exclude_type_checking_imports=True, cache_dir=None)
    modules = set(MEASURING).union(*(graph.find_upstream_modules(name) for name in MEASURING))
    files = {name.replace(".", "/").removeprefix("mubench/") + ".py" for name in modules}
    assert set(TAKES_PART) == files
    assert list(TAKES_PART) == sorted(TAKES_PART)


OUTCOME = {
    "status", "error", "metrics", "floor", "nothing", "golds", "nothing_readout_sha256",
    "isolation", "readout_sha256", "reports", "cost", "flags", "audit", "git_revision",
    "started_at",
}  # fmt: skip


def test_every_field_of_a_record_but_those_of_its_outcome_is_identity():
    """A field that is new belongs to the head, unless it is added here."""
    assert set(Record.model_fields) - set(RecordHead.model_fields) == OUTCOME
    assert set(RecordHead.model_fields) <= set(Record.model_fields)


HEAD = RecordHead(
    task="t@1", spec_sha="1", data_fingerprint="2", case="c-1", forget_sha256="3", method="m",
    distribution="d", distribution_version="1", source_sha256="4", harness_sha256="5",
    requires=("forget",), control=False, parameters={"lr": 0.1}, seed=0, budget=0.5, device="cpu",
    threads=1, precision="float32", versions={"python": "3"},
)  # fmt: skip

OTHER = {"parameters": {"lr": 0.2}, "versions": {}, "requires": (), "control": True,
         "isolated": True, "budget": 0.6, "seed": 1, "original_seed": 1, "threads": 2,
         "changed": ("lr",), "tuning_epochs": 1.0}  # fmt: skip


@pytest.mark.parametrize("field", sorted(set(RecordHead.model_fields) - {"schema_version"}))
def test_another_value_of_any_field_of_the_head_is_another_measurement(field):
    def record(**changes):
        head = HEAD.model_copy(update=changes)
        return Record.of(head, status="ok", git_revision=None, started_at="now")

    assert record().head == HEAD
    changed = record(**{field: OTHER.get(field, "another")})
    assert changed.head != record().head
    assert record().model_copy(update={"status": "error", "started_at": "later"}).head == HEAD


@pytest.fixture
def copy(tmp_path):
    """A copy of the code in a folder, and a grid to sweep there."""
    packages = {"mubench": SOURCE}
    for name in ("mubench_methods", "mubench_tasks"):
        packages[name] = Path(__import__(name).__file__).parent
    for name, folder in packages.items():
        shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def sweep(copy, *options):
    """What the copy's sweep prints: done by the copy, whose folder comes first on the path."""
    return succeed(
        sys.executable, "-m", "mubench", "sweep", "grid.toml", "--device", "cpu", *options,
        cwd=copy, MUBENCH_CACHE=str(copy / "cache"),
    )  # fmt: skip


def measured_and_to_measure(copy):
    row = next(line for line in sweep(copy, "--dry-run").splitlines() if "tiny" in line)
    return tuple(int(cell) for cell in row.split()[3:5])


@pytest.mark.slow
def test_only_code_that_takes_part_makes_records_old(copy):
    sweep(copy)
    assert measured_and_to_measure(copy) == (1, 0)
    for file in (
        "mubench/board/pages/leaderboard.py",
        "mubench/cli/main.py",
        "mubench_methods/tmu.py",
    ):
        with (copy / file).open("a") as code:
            code.write("# a comment\n")
    assert measured_and_to_measure(copy) == (1, 0)
    with (copy / "mubench/training/loop.py").open("a") as code:
        code.write("# a comment\n")
    assert measured_and_to_measure(copy) == (0, 1)


@pytest.mark.slow
def test_a_method_is_the_files_that_it_imports(copy):
    sweep(copy)
    finetune = copy / "mubench_methods/finetune.py"
    finetune.write_text("from . import original\n" + finetune.read_text())
    assert measured_and_to_measure(copy) == (0, 1)
