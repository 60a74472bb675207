"""`mubench sweep`: its records, and going on after a kill."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder, read_record
from mubench.run.cell import Cell, measure
from tests.helpers.methods import bad
from tests.helpers.stores import copy_of
from tests.helpers.sweeps import finish, outliving, start, succeed
from tests.helpers.tiny import TINY

GRID = """
tasks = ["tiny.toml"]
methods = ["original", {name = "finetune", lr = [0.01, 0.1]}]
cases = ["b-6", "d-6"]
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder with a task and a grid."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def started_at(results: Path) -> dict[str, str]:
    return {
        str(path): json.loads(path.read_text())["started_at"] + str(path.stat().st_mtime_ns)
        for path in results.rglob("*.json")
    }


@dataclass(frozen=True)
class Swept:
    """A sweep that was killed when its first record was there, and started again."""

    folder: Path
    cache: Path
    kept: dict[str, str]  # records that were there when it was killed
    all: dict[str, str]
    outliving: dict[int, str]  # its processes that were still there a while after it was killed


@pytest.fixture(scope="module")
def swept(library, tmp_path_factory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    cache = copy_of(library, folder / "cache").store.root  # it trains what other tests must lack
    (folder / "tiny.toml").write_text(TINY)
    (folder / "grid.toml").write_text(GRID)
    results, token = folder / "results", f"TOKEN_OF_SWEEP_{os.getpid()}"
    with start(folder, cache, token=token) as process:
        while not list(results.rglob("*.json")) and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    left = outliving(process, token)
    kept = started_at(results)
    succeed(folder, cache)
    return Swept(folder, cache, kept, started_at(results), left)


@pytest.mark.slow
def test_a_sweep_leaves_a_record_of_each_cell(swept):
    records = [read_record(Path(path)) for path in swept.all]
    methods = (("finetune", 0.01), ("finetune", 0.1), ("original", None))
    found = {(r.case, r.method, r.parameters.get("lr")) for r in records}
    assert found == {(case, *method) for case in ("b-6", "d-6") for method in methods}
    assert len(records) == 6
    assert all(r.status == "ok" and r.isolated and r.threads == 1 for r in records)


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(swept):
    assert not swept.outliving
    assert swept.kept
    assert swept.kept.items() <= swept.all.items()


@pytest.mark.slow
def test_numbers_are_those_of_a_plain_run(swept, library, tmp_path):
    (path,) = [p for p in swept.all if (r := read_record(Path(p))).case == "b-6"
               and r.parameters.get("lr") == 0.1]  # fmt: skip
    method = load_method("finetune")
    cell = Cell(library.loaded.case("b-6"), method, configure(method, {"lr": 0.1}), 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = measure(library, cell, ResultsFolder(tmp_path)).record
    finally:
        torch.set_num_threads(threads)
    assert read_record(Path(path)).readout_sha256 == here.readout_sha256


@pytest.mark.slow
def test_a_method_added_later_runs_alone_and_its_failure_is_the_exit_code(swept):
    reference = bad("raises_in_unlearn")
    grid = swept.folder / "grid.toml"
    grid.write_text(GRID.replace('["original"', f'["original", "{reference}"'))
    process = start(swept.folder, swept.cache)
    out, err = finish(process)
    assert process.returncode == 1, err
    after = started_at(swept.folder / "results")
    assert swept.all.items() <= after.items()
    new = [Path(path) for path in after.keys() - swept.all.keys()]
    assert len(new) == 2
    for path in new:
        assert read_record(path).error == "RuntimeError: out of ideas"
        assert "Traceback" in path.with_suffix(".traceback.txt").read_text()
    assert out.count("error: RuntimeError: out of ideas") == 2
    rows = [line.split() for line in out.splitlines() if " of 2" in line]
    assert [row[1] for row in rows].count("finetune") == 2
    assert next(row for row in rows if row[1] == "bad")[2:] == ["0", "of", "2"]


def test_a_dry_run_does_nothing(folder, tiny_store, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    (folder / "grid.toml").write_text(GRID + "seeds = [0, 1]")
    result = CliRunner().invoke(main, ["sweep", "grid.toml", "--dry-run", "--shard", "2/3"])
    assert result.exit_code == 0, result.output
    header, _, row, total, unknown = result.stdout.splitlines()
    assert " ".join(header.split()) == "task models to train cells measured to measure time"
    assert row.split()[:5] == ["tiny@1", "5", row.split()[2], "0", "4"]
    assert total.startswith("about ")
    assert unknown == "4 cells without a record to go by: taken at the whole budget, mostly less"
    assert not list((folder / "results").rglob("*.json"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_shard_that_is_none(folder, shard):
    result = CliRunner().invoke(main, ["sweep", str(folder / "grid.toml"), "--shard", shard])
    assert result.exit_code == 2
    assert "is not a part such as 3/16; the parts of 16 are 1/16 to 16/16" in result.stderr


def test_options_of_ray_without_ray(folder):
    options = ["--gpus-per-cell", "0.5", "--address", "auto"]
    result = CliRunner().invoke(main, ["sweep", str(folder / "grid.toml"), *options])
    assert result.exit_code == 2
    assert "--address, --gpus-per-cell: for --engine ray only" in result.stderr


def test_without_ray_installed_the_message_says_how(folder, tiny_store, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["sweep", "grid.toml", "--engine", "ray"])
    assert result.exit_code == 2
    assert "pip install 'mubench[ray]'" in result.stderr
