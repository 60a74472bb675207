"""Hostile methods: each is contained or flagged, and none reaches another cell."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mubench.run.isolation.private_files import SHARED_FOLDERS
from tests.helpers.hostile import HOSTILE, MARK, NOT_CLOSED
from tests.helpers.processes import ON_LINUX, tokened
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def honest(run):
    """The record of a good method, before any hostile one ran."""
    return run("finetune").record


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_method_harms_no_other_and_leaves_nothing(
    run, isolation, results, honest, hostile, tmp_path, capfd
):
    if isolation.visible or isolation.obstacle:
        pytest.skip(isolation.visible or isolation.obstacle)
    servers = tokened()
    place = tmp_path / "place"
    place.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        given = {"place": port if hostile.name == "calls-home" else str(place)}
        record = run(hostile.write(tmp_path / "code"), **given).record
    assert record.status == hostile.status, record.error
    assert hostile.error in (record.error or "")
    assert record.flags == (*hostile.left, *(hostile.flags if record.status == "ok" else ()))
    assert record.isolation == "namespaces"
    assert record.cost.seconds >= hostile.least_seconds
    assert tokened() <= servers
    homes = (place, tmp_path / "code", results, Path.home(), *SHARED_FOLDERS)
    assert [path for home in homes for path in Path(home).glob(f"{MARK}*")] == []
    seen = capfd.readouterr().err
    assert all(letter.isprintable() or letter in "\n\t" for letter in seen)
    after = run("finetune").record
    assert after.readout_sha256 == honest.readout_sha256
    assert (after.metrics, after.flags, after.floor) == (honest.metrics, honest.flags, honest.floor)


@pytest.mark.skipif(not ON_LINUX, reason="of Linux alone")
def test_what_a_run_leaves_is_not_there_in_the_next(run, isolation, tmp_path):
    (hostile,) = [one for one in HOSTILE if one.name == "leaves-for-the-next"]
    reference = hostile.write(tmp_path)
    for _ in range(2):
        record = run(reference).record
        if isolation.visible or isolation.obstacle:
            pytest.skip(isolation.visible or isolation.obstacle)
        assert record.error is None


HERE = """
import json, os, sys
from pathlib import Path
import torch
from mubench._util.cache import Store
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from mubench.task.spec import parse_task

task, store, results, said, *references = sys.argv[1:]
loaded = LoadedTask(parse_task(task, "tiny.toml"), torch.device("cpu"))
library = GoldLibrary(loaded, Store(Path(store)))
folder = ResultsFolder(Path(results))
said = open(said, "w")

def run(reference):
    method = load_method(reference)
    cell = Cell(library.loaded.cases[0], method, configure(method, {}), 0)
    return measure(library, cell, folder, again=True).record

for reference in ["finetune", *references]:
    record, after = run(reference), run("finetune")
    line = [record.status, record.error, record.flags, record.isolation, after.readout_sha256]
    print("said so", file=sys.stderr)
    print(json.dumps(line), file=said, flush=True)
"""


@pytest.mark.slow
def test_in_the_harnesss_own_process_the_cell_ends_as_a_record_too(library, tmp_path):
    """Those that DESIGN.md does not except; one process for all, so that each meets the others."""
    chosen = [hostile for hostile in HOSTILE if hostile.here != NOT_CLOSED]
    references = [hostile.write(tmp_path / "code") for hostile in chosen]
    script = tmp_path / "script.py"
    script.write_text(HERE)
    arguments = [TINY, library.store.root, tmp_path / "results", tmp_path / "said", *references]
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    (_, _, _, _, expected), *lines = lines
    for hostile, (status, error, flags, isolation, after) in zip(chosen, lines, strict=True):
        assert status == (hostile.here or hostile.status), (hostile.name, error)
        assert hostile.error in (error or "") or hostile.here, hostile.name
        assert flags == (list(hostile.flags) if status == "ok" else []), hostile.name
        assert isolation is None
        assert after == expected, hostile.name
    assert done.stderr.count("said so") == len(chosen) + 1
