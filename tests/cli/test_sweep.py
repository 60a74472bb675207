"""`mubench sweep`: its records, and going on after a kill."""

import json
import os
import random
import subprocess
import sys
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
from tests.helpers.processes import tokened
from tests.helpers.stores import copy_of
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


def start(folder: Path, cache: Path, *options: str, token: str = "") -> subprocess.Popen:
    environment = os.environ | {"MUBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    if token:
        environment[token] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "mubench", "sweep", "grid.toml", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[str, str]:
    with process:
        out, err = process.communicate(timeout=1200)
    return out, err


def measured(results: Path) -> dict[str, object]:
    """What a sweep left, but for times, memory and dates."""
    left: dict[str, object] = {}
    for path in sorted(results.rglob("[!.]*")):
        if path.suffix == ".json":
            record = read_record(path)
            cost = record.cost.model_dump(include={"forward_samples", "backward_samples"})
            content = record.model_dump(exclude={"cost", "started_at", "git_revision"})
            left[str(path.relative_to(results))] = content | {"cost": cost}
        elif path.is_file():
            left[str(path.relative_to(results))] = path.read_bytes()
    return left


def started_at(results: Path) -> dict[str, str]:
    return {
        str(path): json.loads(path.read_text())["started_at"] + str(path.stat().st_mtime_ns)
        for path in results.rglob("*.json")
    }


def kill_and_go_on(folder, cache, moments) -> None:
    """Kills a sweep at each moment, in seconds after its start, then lets it end."""
    token = f"SWEEP_OF_TEST_{os.getpid()}_{folder.name}"
    for moment in moments:
        process = start(folder, cache, token=token)
        with process:
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        assert no_process_of(token)
    process = start(folder, cache, token=token)
    out, err = finish(process)
    assert process.returncode == 0, out + err
    assert no_process_of(token)


def no_process_of(token: str) -> bool:
    for _ in range(200):
        if not tokened(token):
            return True
        time.sleep(0.1)
    return False


@dataclass(frozen=True)
class Swept:
    """A sweep that was killed when its first record was there, and started again."""

    folder: Path
    cache: Path
    kept: dict[str, str]  # records that were there when it was killed
    all: dict[str, str]
    ends: bool  # whether all its processes were gone soon after it was killed


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
    ends = no_process_of(token)
    kept = started_at(results)
    kill_and_go_on(folder, cache, [])
    return Swept(folder, cache, kept, started_at(results), ends)


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
    assert swept.ends
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


def test_a_dry_run_does_nothing(folder, tiny_store, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    (folder / "grid.toml").write_text(GRID + "seeds = [0, 1]")
    result = CliRunner().invoke(main, ["sweep", "grid.toml", "--dry-run", "--shard", "2/3"])
    assert result.exit_code == 0, result.output
    header, _, row, total = result.stdout.splitlines()
    assert " ".join(header.split()) == "task models to train cells measured to measure time"
    assert row.split()[:5] == ["tiny@1", "5", row.split()[2], "0", "4"]
    assert total.startswith("about ")
    assert not list((folder / "results").rglob("*.json"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_shard_that_is_none(folder, shard):
    result = CliRunner().invoke(main, ["sweep", str(folder / "grid.toml"), "--shard", shard])
    assert result.exit_code == 2
    assert "is not a part such as 3/16" in result.stderr


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@on_linux
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_sweep_killed_at_ten_random_moments_ends_with_the_same_records(tmp_path):
    """24 cells on digits, from an empty cache, so that trainings are killed too."""
    grid = """
tasks = ["digits-subset"]
methods = ["finetune", "neggrad", {name = "random-label", epochs = [1, 2]}]
cases = ["8-40", "0-40"]
seeds = [0, 1, 2]
"""
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
        (folder / "grid.toml").write_text(grid)
    undisturbed, killed = folders
    began = time.monotonic()
    kill_and_go_on(undisturbed, tmp_path / "cache-undisturbed", [])
    took = time.monotonic() - began
    seed = random.randrange(10**6)
    print(f"seed {seed}, undisturbed {took:.0f} s")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    kill_and_go_on(
        killed, tmp_path / "cache-killed", [draw.uniform(0.05, 0.6) * took for _ in range(10)]
    )
    expected, found = (measured(folder / "results") for folder in folders)
    assert len([name for name in expected if name.endswith(".json")]) == 24
    assert found == expected

    before = started_at(killed / "results")
    (killed / "grid.toml").write_text(grid.replace('["finetune"', '["original", "finetune"'))
    kill_and_go_on(killed, tmp_path / "cache-killed", [])
    after = started_at(killed / "results")
    assert before.items() <= after.items()
    assert len(after) == 24 + 6
