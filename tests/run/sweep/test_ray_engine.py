"""Sweeps on a Ray cluster whose nodes share no cache: the same records as everywhere else."""

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench._util.workers import WorkerLost
from mubench.gold.library import CHECKPOINTS, MODELS, READOUTS
from mubench.record.folder import read_record
from tests.helpers.clusters import small_cluster
from tests.helpers.methods import bad
from tests.helpers.processes import ON_LINUX
from tests.helpers.stores import copy_of, keys
from tests.helpers.sweeps import KILLS, finish, measured, start, succeed
from tests.helpers.tiny import TINY

ray = pytest.importorskip("ray")
from mubench.run.sweep.ray_engine import RayExecutor, connect  # noqa: E402
from mubench.run.sweep.ray_worker import Share  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # of Ray's own
    pytest.mark.skipif(not ON_LINUX, reason="clusters on one machine are for Linux"),
]


@dataclass(frozen=True)
class Square:
    number: int

    def __call__(self) -> int:
        return self.number**2


@dataclass(frozen=True)
class Fail:
    def __call__(self) -> None:
        raise OSError("disk full")


@dataclass(frozen=True)
class Die:
    def __call__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Sleep:
    def __call__(self) -> None:
        time.sleep(600)


@dataclass(frozen=True)
class Surroundings:
    def __call__(self) -> tuple[int, int, str | None, str | None]:
        import torch

        variables = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")]
        return os.getpid(), torch.get_num_threads(), *variables


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with small_cluster(tmp_path_factory.mktemp("cluster"), num_nodes=2) as started:
        yield started


@pytest.fixture
def connected(cluster, tmp_path):
    """An executor on the cluster."""
    executor, _ = connect(tmp_path / "cache", tmp_path / "results", address=cluster.address)
    yield executor
    executor.close()


def test_a_lost_worker_costs_its_own_job_alone(connected):
    assert connected.num_workers == 2
    jobs = [Square(3), Die(), Fail(), Square(5)]
    square, die, fail, last = [connected.submit(job) for job in jobs]
    assert (square.result(300), last.result(300)) == (9, 25)
    with pytest.raises(WorkerLost, match="WorkerCrashedError"):
        die.result(300)
    with pytest.raises(OSError, match="disk full") as caught:
        fail.result(300)
    assert type(caught.value) is OSError


def test_a_worker_on_the_cpu_has_one_thread_and_goes_on_to_the_next_job(connected):
    found = [connected.submit(Surroundings()).result(300) for _ in range(4)]
    assert {(threads, variable) for _, threads, variable, _ in found} == {(1, "1")}
    assert len({pid for pid, *_ in found}) <= 2


def test_a_killed_node_costs_its_own_job_alone(cluster, connected):
    cluster.add(resources={"third": 1})
    connected._task = connected._task.options(resources={"third": 1})
    lost = connected.submit(Sleep())
    time.sleep(5)
    cluster.nodes.insert(0, cluster.nodes.pop())
    cluster.kill()
    with pytest.raises(WorkerLost):
        lost.result(300)


def test_a_cluster_without_room_for_a_cell(cluster, tmp_path):
    with pytest.raises(UserError, match="no node of the cluster has 99 CPUs and 0 GPUs"):
        connect(tmp_path, tmp_path, address=cluster.address, cpus_per_cell=99)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:1", "no Ray cluster listens there"), ("head", "auto, or HOST:PORT"),
     ("127.0.0.1:99999", "no Ray cluster listens there")],
)  # fmt: skip
def test_an_address_where_nobody_listens(tmp_path, address, expected):
    with pytest.raises(UserError, match=expected):
        connect(tmp_path, tmp_path, address=address)


GRID = f"""
tasks = ["tiny.toml"]
methods = [
    "original", "oracle", "{bad("looks_for_golds")}", {{name = "finetune", lr = [0.01, 0.1]}}
]
cases = ["b-6", "d-6"]
"""


@pytest.fixture
def folders(tmp_path):
    """Two working folders with one grid: for the local engine and for Ray."""
    folders = [tmp_path / name for name in ("local", "ray")]
    for folder in folders:
        folder.mkdir()
        (folder / "tiny.toml").write_text(TINY)
        (folder / "grid.toml").write_text(GRID)
    return folders


def test_nodes_that_share_no_cache_measure_what_one_machine_does(cluster, library, folders):
    """Of the models, the driver has those of one case; the nodes have none."""
    local, on_ray = folders
    caches = [copy_of(library, folder / "cache").store for folder in folders]
    succeed(local, caches[0].root)
    out = succeed(on_ray, caches[1].root, "--engine", "ray", "--address", cluster.address)
    assert measured(on_ray / "results") == measured(local / "results")
    assert "10 of" not in out
    for kind in (MODELS, READOUTS):
        assert keys(caches[1], kind) == keys(caches[0], kind), "trained models come back"
    assert not keys(caches[1], CHECKPOINTS)
    records = [read_record(path) for path in (on_ray / "results").rglob("*.json")]
    assert len(records) == 10
    assert all(r.status == "ok" and r.isolated and r.threads == 1 for r in records)
    assert all(r.cost.exclusive_device for r in records)
    nodes = [Store(folder) for folder in cluster.folder.glob("node-*")]
    assert sum(len(keys(node, READOUTS)) for node in nodes) > 0, "golds were pulled"


def test_cells_that_share_a_gpu(cluster, tmp_path):
    cluster.add(num_cpus=4, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    executor = RayExecutor(Store(tmp_path), Share(cpus=1, gpus=0.5, threads=1))
    try:
        assert executor.num_workers == 2
        found = [executor.submit(Surroundings()) for _ in range(2)]
        pids, _, _, devices = zip(*(future.result(300) for future in found), strict=True)
        assert devices == ("0", "0")
        assert pids[0] != pids[1]
        assert executor.submit(Surroundings()).result(300)[0] not in pids, "its memory is freed"
    finally:
        executor.close()
        cluster.nodes.insert(0, cluster.nodes.pop())
        cluster.kill()


def test_killed_nodes_cost_their_own_jobs_only(tmp_path_factory, library, folders):
    """Three nodes, of which one is killed and replaced at random moments, from an empty cache."""
    local, on_ray = folders
    succeed(local, local / "cache")
    expected = measured(local / "results")
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    killed = lost = 0
    with small_cluster(tmp_path_factory.mktemp("three"), num_nodes=3) as three:
        options = ("--engine", "ray", "--address", three.address)
        while killed < KILLS:
            for name in ("results", "cache"):
                shutil.rmtree(on_ray / name, ignore_errors=True)
            with start(on_ray, on_ray / "cache", *options) as process:
                # Until the nodes are at work, there is nothing to lose.
                while process.poll() is None and not keys(Store(on_ray / "cache"), MODELS):
                    time.sleep(0.05)
                while process.poll() is None and killed < KILLS:
                    try:
                        process.communicate(timeout=draw.uniform(0, 10))
                    except subprocess.TimeoutExpired:
                        three.kill()
                        three.add()
                        killed += 1
                _, err = finish(process)
            lost += err.count("it is tried once more")
            if process.returncode:  # the same command tries again what was lost twice
                succeed(on_ray, on_ray / "cache", *options)
            assert measured(on_ray / "results") == expected
    print(f"{killed} nodes killed, {lost} jobs lost")  # noqa: T201
    assert lost
