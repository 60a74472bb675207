"""What a node of a Ray cluster uses and takes in."""

import sys
from pathlib import Path

import pytest

from mubench._util.cache import Store
from mubench.gold.build import TrainJob
from mubench.gold.library import MODELS, UPDATE_LOGS
from mubench.run.sweep.jobs import Job
from mubench.training import loop

pytest.importorskip("ray")
from mubench.run.sweep import ray_worker
from mubench.run.sweep.ray_worker import node_cache, pack, slots, unpack


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "expected"),
    [
        ({"CPU": 8}, 1, 0, 8),
        ({"CPU": 8}, 3, 0, 2),
        ({"CPU": 1}, 0.1, 0, 10),
        ({"CPU": 8}, 1, 0.5, 0),
        ({"CPU": 8, "GPU": 2}, 1, 0.5, 4),
        ({"CPU": 2, "GPU": 2}, 1, 0.5, 2),
        ({"CPU": 8, "GPU": 4}, 1, 2, 2),
        ({}, 1, 0, 0),
    ],
)
def test_as_many_jobs_as_the_scarcest_resource_has_room_for(resources, cpus, gpus, expected):
    assert slots(resources, cpus, gpus) == expected


def test_an_entry_travels_whole(library, tmp_path):
    name = MODELS, library.loaded.originals[0].key
    there = Store(tmp_path)
    assert pack(there, name) is None
    unpack(there, name, pack(library.store, name))
    assert pack(there, name) == pack(library.store, name)
    manifests = [store.root / "/".join(name) / "manifest.json" for store in (there, library.store)]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


def test_what_is_there_is_not_replaced(library, tmp_path):
    name = MODELS, library.loaded.originals[0].key
    there = Store(tmp_path)
    unpack(there, name, ({"own": b"own"}, {}))
    unpack(there, name, pack(library.store, name))
    assert pack(there, name) == ({"own": b"own"}, {})


def test_a_log_of_updates_travels(library, tmp_path):
    loaded, there = library.loaded, Store(tmp_path)
    ref = loaded.update_log_ref(loaded.originals[0])
    work = TrainJob.of(ref, loaded.task, there.root, "cpu")
    ((name,),) = work.reads
    unpack(there, name, pack(library.store, name))
    with loop.threads(1):
        work()
    made = ray_worker._made(Job(work, "", 0.0, gives=ref.key), there)
    assert made.keys() == {(UPDATE_LOGS, ref.key)}


def test_a_nodes_own_cache_counts_then_the_drivers_then_the_users(tmp_path, monkeypatch):
    drivers = tmp_path / "drivers"
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "own"))
    drivers.mkdir()
    assert node_cache(drivers).root == tmp_path / "own"
    monkeypatch.delenv("MUBENCH_CACHE")
    assert node_cache(drivers).root == drivers
    assert node_cache(Path("/no/such/folder")).root != Path("/no/such/folder")


def test_the_folder_of_rays_sockets_is_hidden(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["worker.py", "--node-id=1", "--temp-dir=/tmp/ray"])
    assert ray_worker._ray_folders() == [Path("/tmp/ray")]
