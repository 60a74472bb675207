"""Many cells at once: the same bits by every door, and what each cell gets of the machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mubench._util.errors import UserError
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder, read_record
from mubench.run.cell import Cell
from mubench.run.notebook import measure
from mubench.run.several import Share, measure_all
from tests.helpers.clusters import small_cluster
from tests.helpers.commands import call
from tests.helpers.processes import ON_LINUX
from tests.helpers.stores import copy_of
from tests.helpers.sweeps import succeed
from tests.helpers.tiny import TINY

CPU = torch.device("cpu")
GRID = 'tasks = ["tiny.toml"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]\n'


def cells(library, method="finetune", cases=("b-6", "d-6")):
    found = load_method(method)
    instance = configure(found, {})
    return [Cell(library.loaded.case(case), found, instance, 0) for case in cases]


def readouts(results):
    """Case to what its record measured, bit for bit."""
    records = map(read_record, results.rglob("*.json"))
    return {one.case: (one.readout_sha256, one.parameters_id, one.threads) for one in records}


@pytest.fixture
def here(library, tmp_path, monkeypatch):
    """A working folder with the tiny task; its models are cached."""
    # A copy, because other tests count what the shared cache lacks.
    monkeypatch.setenv("MUBENCH_CACHE", str(copy_of(library, tmp_path / "cache").store.root))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


@pytest.mark.parametrize(
    ("cores", "threads", "workers", "expected"),
    [
        (8, None, None, (1, 2, True)),
        (1, None, None, (1, 1, True)),
        (8, 8, None, (8, 1, True)),
        (8, 3, None, (3, 2, True)),
        (1, None, 5, (1, 2, False)),
        (8, None, 1, (1, 1, True)),
    ],
)
def test_a_cell_has_a_thread_and_every_core_has_a_cell(
    library, monkeypatch, cores, threads, workers, expected
):
    monkeypatch.setattr("mubench._util.workers.usable_cores", lambda: cores)
    share = Share.of(CPU, cells(library), threads, workers)
    assert (share.threads, share.num_workers, share.exclusive_device) == expected


def test_a_gpu_has_one_cell_and_as_many_threads_as_torch_takes(library):
    share = Share.of(torch.device("cuda:0"), cells(library))
    assert (share.threads, share.num_workers, share.exclusive_device) == (None, 1, True)
    assert not Share.of(torch.device("cuda:0"), cells(library), num_workers=2).exclusive_device


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of Ray's own
@pytest.mark.skipif(not ON_LINUX, reason="clusters on one machine are for Linux")
def test_every_door_gives_the_same_bits(library, here, tmp_path_factory):
    """`run` in this process and in workers, the Python door, `sweep`, and `sweep` on Ray."""
    pytest.importorskip("ray")
    found = {}
    for name, options in {"alone": ("--workers", "1"), "workers": ("--workers", "2")}.items():
        run = ("run", "--method", "finetune", "--task", "tiny.toml", "--cases", "all")
        result = call(*run, "--case", "b-6", "--case", "d-6", *options, "--out", name)
        assert result.exit_code == 0, result.output
        found[name] = readouts(here / name)
    measure("finetune", "tiny.toml", cases=["b-6", "d-6"], device="cpu", results="notebook")
    found["notebook"] = readouts(here / "notebook")
    cache = here / "cache"
    succeed(here, cache)
    found["sweep"] = readouts(here / "results")
    with small_cluster(tmp_path_factory.mktemp("nodes"), num_nodes=1) as cluster:
        succeed(here, cache, "--engine", "ray", "--address", cluster.address, "--out", "ray")
    found["ray"] = readouts(here / "ray")
    assert all(one == found["alone"] for one in found.values()), found
    assert {threads for *_, threads in found["alone"].values()} == {1}
    assert len(found["alone"]) == 2


def test_the_threads_of_this_process_come_back(library, tmp_path):
    before = torch.get_num_threads()
    share = Share.of(CPU, cells(library, cases=("b-6",)), threads=before + 1)
    results = ResultsFolder(tmp_path)
    ((_, done),) = measure_all(library, cells(library, cases=("b-6",)), results, share)
    assert done.record.threads == before + 1
    assert torch.get_num_threads() == before


def test_what_was_measured_before_is_not_measured_again(library, tmp_path):
    (cell,) = cells(library, cases=("b-6",))
    both = [cell, replace(cell, seed=1)]
    results, share = ResultsFolder(tmp_path), Share.of(CPU, both, num_workers=1)
    first = list(measure_all(library, both, results, share))
    again = list(measure_all(library, both, results, replace(share, num_workers=2)))
    assert [done.reused for _, done in first] == [False, False]
    assert [done.reused for _, done in again] == [True, True]
    assert [done.record for _, done in again] == [done.record for _, done in first]


def test_a_method_of_this_process_is_measured_cell_by_cell(library, here):
    (here / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine:\n"
        "    requires: ClassVar = frozenset({'forget'})\n"
        "    def unlearn(self, problem):\n        return problem.original\n"
    )
    mine = cells(library, "./mine.py:Mine")
    assert Share.of(CPU, mine).num_workers == 1
    with pytest.raises(UserError, match="leave --workers"):
        next(measure_all(library, mine, ResultsFolder(here), Share.of(CPU, mine, num_workers=2)))


@pytest.mark.slow
def test_what_a_worker_leaves_is_what_this_process_leaves(library, here):
    """Failures with their notes, weights, words on stderr, and `--again`."""
    run = ("run", "--task", "tiny.toml", "--case", "b-6", "--case", "d-6", "--format", "json",
           "--method", "finetune", "--set", "peak=1e30", "--workers", "2")  # fmt: skip
    failed = call(*run)
    assert failed.exit_code == 1
    assert [json.loads(line)["status"] for line in failed.stdout.splitlines()] == ["diverged"] * 2
    assert len(list(here.glob("results/tiny/finetune/*.traceback.txt"))) == 2
    run = (*run[:-4], "--save-weights", "models", "--again", "--workers", "2")
    for _ in range(2):
        good = call(*run)
        assert good.exit_code == 0, good.output
        assert "measured before" not in good.stderr
    records = [json.loads(line) for line in good.stdout.splitlines()]
    assert [record["case"] for record in records] == ["b-6", "d-6"], "in the order of the cases"
    assert all(record["cost"]["exclusive_device"] in (True, False) for record in records)
    assert len(list(Path("models/tiny").glob("finetune-*.safetensors"))) == 2
