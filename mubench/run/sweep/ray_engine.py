"""Sweeps on a Ray cluster: the jobs run on any node that has room, and all results come back here.

No file system has to be shared. The driver hands out what a job of a cell reads, takes in what a
training has made, and alone writes results. Ray itself never runs a job again: whether to try again
is the sweep's decision.
"""

import logging
import os
import pickle
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from mubench._util.cache import Store
from mubench._util.cores import usable_cores
from mubench._util.errors import UserError
from mubench._util.workers import WorkerLost

from .jobs import DeviceNameJob, EntryName, Job, Place
from .ray_worker import Packed, Share, pack, perform, slots, unpack

T = TypeVar("T")

CONNECT_SECONDS = 10
"""Most seconds until somebody answers at the address of a cluster."""


class RayExecutor:
    """Runs jobs as tasks of a Ray cluster."""

    def __init__(self, store: Store, share: Share, most_workers: int | None = None):
        """An executor on the cluster that this process is connected to.

        Args:
            store: the driver's cache.
            share: what each job has of its node.
            most_workers: most jobs at once. None: as many as the cluster has room for.
        """
        self._store = store
        self._share = share
        self._most_workers = most_workers
        self._running: set[ray.ObjectRef[Any]] = set()
        self._offered: dict[EntryName, ray.ObjectRef[Packed]] = {}
        self._taking_in = threading.Lock()
        # A process that has used a GPU keeps memory of it, so it ends with its job. On the CPU a
        # process goes on to the next job, because importing torch takes seconds.
        self._task = ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_retries=0,
            max_calls=1 if share.gpus else 0,
        )(perform)

    @property
    def num_workers(self) -> int:
        """Jobs that the nodes which are there now can run at once; at least one."""
        workers = self.num_slots()
        return max(1, min(workers, self._most_workers or workers))

    def num_slots(self) -> int:
        """Jobs that the nodes which are there now have room for."""
        share = self._share
        return sum(slots(n["Resources"], share.cpus, share.gpus) for n in ray.nodes() if n["Alive"])

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job as soon as a node has room.

        Returns:
            The job's future. It raises the job's exception, or `WorkerLost`.
        """
        future: Future[T] = Future()
        ref = self._task.remote(pickle.dumps(job), self._share, self._offer(job))
        self._running.add(ref)

        def settle(ended: "Future[Any]") -> None:
            self._running.discard(ref)
            try:
                value, made = ended.result()
                with self._taking_in:
                    for name, packed in made.items():
                        unpack(self._store, name, packed)
            except RayTaskError as error:
                future.set_exception(error.cause)
            except RayError as error:
                reason = str(error).partition("\n")[0]
                future.set_exception(WorkerLost(f"{type(error).__name__}: {reason}"))
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        ref.future().add_done_callback(settle)
        return future

    def close(self) -> None:
        """Ends all jobs, and the connection to the cluster."""
        for ref in list(self._running):
            ray.cancel(ref, force=True)
        ray.shutdown()

    def _offer(self, job: object) -> "dict[EntryName, ray.ObjectRef[Packed]]":
        """The entries of the cache that a job reads, put where any node can get them."""
        if not isinstance(job, Job):
            return {}
        offered = {}
        for names in job.work.reads:
            for name in names:
                if name not in self._offered and (packed := pack(self._store, name)):
                    self._offered[name] = ray.put(packed)
                if name in self._offered:
                    offered[name] = self._offered[name]
                    break
        return offered


def _check_address(address: str) -> None:
    """Refuses an address at which nobody listens, because Ray tries it for minutes.

    Raises:
        UserError: nobody does.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--address {address!r} is none: auto, or HOST:PORT of the head node")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--address {address}: no Ray cluster listens there ({error})") from None


def connect(
    cache: Path | str,
    results: Path,
    *,
    address: str | None = None,
    device: str = "auto",
    cpus_per_cell: float = 1,
    gpus_per_cell: float | None = None,
    workers: int | None = None,
) -> tuple[RayExecutor, Place]:
    """Connects to a Ray cluster, or starts one on this machine alone.

    Args:
        cache: root of the driver's cache: a folder or a URL.
        results: folder of records.
        address: of the cluster, such as `auto` or `host:6379`. None: `RAY_ADDRESS`, or a new
            cluster on this machine that ends with this process.
        device: `cpu`, `cuda` or `auto`.
        cpus_per_cell: CPUs that Ray reserves for a job.
        gpus_per_cell: GPUs that Ray reserves for a job. None: one if the cluster has any.
        workers: most jobs at once. None: as many as there is room for.

    Raises:
        UserError: there is no such cluster, or no node of it has room for a job.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(address)
    own = {"num_cpus": usable_cores()} if address == "local" else {}
    # Otherwise Ray gives its workers the lowest priority, and seconds depend on what else runs.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except ConnectionError as error:
        raise UserError(f"--address {address}: {error}".partition("\n")[0]) from None
    gpus = gpus_per_cell
    if gpus is None:
        has_gpus = any(n["Alive"] and n["Resources"].get("GPU") for n in ray.nodes())
        gpus = 1.0 if device.startswith("cuda") or (device == "auto" and has_gpus) else 0.0
    threads = max(1, int(cpus_per_cell)) if gpus else 1  # on the CPU one, as everywhere
    share = Share(cpus_per_cell, gpus, threads)
    executor = RayExecutor(Store(cache), share, workers)
    if not executor.num_slots():
        executor.close()
        raise UserError(f"no node of the cluster has {cpus_per_cell:g} CPUs and {gpus:g} GPUs")
    name = "cuda:0" if gpus else "cpu"  # Ray shows a job its own GPUs only
    place = Place(
        cache,
        results,
        name,
        executor.num_workers,
        threads=threads,
        machine=executor.submit(DeviceNameJob(name)).result(),
        exclusive_device=(gpus or cpus_per_cell) >= 1,
    )
    return executor, place
