"""What a Ray worker does with a job of a sweep: gets what the job reads, returns what it made.

A node may share the cache with the driver or have one of its own. A node's own `MUBENCH_CACHE`
counts first, then the driver's folder if the node has it, then the node's user's. What a job reads
and that cache lacks comes from the driver, by key.

Nothing here imports torch at the top: a worker must set its number of threads before.
"""

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from mubench._util.cache import Store
from mubench._util.cores import usable_cores
from mubench._util.workers import THREAD_VARIABLES

if TYPE_CHECKING:
    from .jobs import EntryName, Job, Place

Packed = tuple[dict[str, bytes], dict[str, Any]]
"""An entry of the cache as it travels: its files by name, and how it was made."""


@dataclass(frozen=True)
class Share:
    """What a job has of its node."""

    cpus: float
    """CPUs of the node's that Ray counts."""
    gpus: float
    """GPUs of the node's that Ray counts."""
    threads: int
    """Threads on the CPU."""


def pack(store: Store, name: "EntryName") -> Packed | None:
    """An entry of a cache; None if the cache has no such entry."""
    entry = store.read(*name)
    return (dict(entry.files), entry.provenance) if entry else None


def unpack(store: Store, name: "EntryName", packed: Packed) -> None:
    """Puts an entry into a cache, unless the cache has one by now."""
    with store.lock(*name):
        if store.read(*name) is None:
            store.write(*name, *packed)


def perform(
    pickled: bytes, share: Share, offered: "Mapping[EntryName, ray.ObjectRef[Packed]]"
) -> "tuple[Any, dict[EntryName, Packed]]":
    """Performs a job in a Ray worker.

    Args:
        pickled: the job.
        share: what the job has of this node.
        offered: the entries of the cache that the job reads, at the driver.

    Returns:
        The job's value, and the entries of the cache that the job made.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(share.threads)))
    import torch

    torch.set_num_threads(share.threads)
    job = pickle.loads(pickled)
    from .jobs import Job, attempt

    if not isinstance(job, Job):
        return job(), {}
    made: dict[EntryName, Packed] = {}

    def work() -> object:
        store = node_cache(job.work.cache)
        for name, ref in offered.items():
            if store.read(*name) is None:
                unpack(store, name, ray.get(ref))
        result = _moved(job, store.root, share).work()
        made.update(_made(job, store))
        return result

    return attempt(work), made


def node_cache(drivers: Path | str) -> Store:
    """The cache that this node uses.

    Args:
        drivers: the driver's cache: a URL, or a folder that may not be here.
    """
    is_here = isinstance(drivers, str) or drivers.is_dir()
    return Store(drivers if is_here and not os.environ.get("MUBENCH_CACHE") else None)


def _moved(job: "Job", cache_folder: Path | str, share: Share) -> "Job":
    """A job as this node performs it."""
    from .jobs import MeasureJob

    work = job.work
    if not isinstance(work, MeasureJob):
        return replace(job, work=replace(work, cache=cache_folder))
    return replace(job, work=replace(work, place=_place_here(work.place, cache_folder, share)))


@cache
def _place_here(place: "Place", cache_folder: Path | str, share: Share) -> "Place":
    node = ray.get_runtime_context().get_node_id()
    (resources,) = (n["Resources"] for n in ray.nodes() if n["NodeID"] == node)
    workers = slots(resources, share.cpus, share.gpus)
    on_cpu = not share.gpus
    return replace(
        place,
        cache=cache_folder,
        num_workers=max(1, workers),
        # A node can be started with more CPUs than it has.
        exclusive_device=place.exclusive_device and not (on_cpu and workers > usable_cores()),
        hidden=(
            *place.hidden,
            *_ray_folders(),
            *([place.cache] if isinstance(place.cache, Path) else []),
        ),
    )


def slots(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Jobs that a node with these resources can run at once.

    Args:
        resources: of the node, as Ray counts them.
        cpus: of a job.
        gpus: of a job.
    """
    by_kind = [
        resources.get(kind, 0) / each for kind, each in (("CPU", cpus), ("GPU", gpus)) if each
    ]
    return int(min(by_kind) + 1e-6)


def _ray_folders() -> list[Path]:
    """The folder of Ray's sockets and files, by which a process could get at the driver's."""
    options = [argument.partition("=") for argument in sys.argv]
    return [Path(value) for option, _, value in options if option == "--temp-dir" and value]


def _made(job: "Job", store: Store) -> "dict[EntryName, Packed]":
    """The entries that a job has made: of a training, or the readout of an original."""
    import torch

    from mubench.gold.build import TrainJob
    from mubench.gold.identity import ModelRef, UpdateLogRef
    from mubench.gold.library import MODELS, READOUTS, UPDATE_LOGS
    from mubench.gold.loaded import load_once

    work = job.work
    if not isinstance(work, TrainJob):
        loaded, cell = load_once(work.task, torch.device(work.place.device)), work.cell
        original = loaded.original(cell.case, cell.seed)
        name: EntryName = READOUTS, loaded.readout_key(original, cell.case)
        return {name: packed} if (packed := pack(store, name)) else {}
    loaded = load_once(work.task, torch.device(work.device))
    ref = work.ref(loaded)
    names = [(UPDATE_LOGS if isinstance(ref, UpdateLogRef) else MODELS, ref.key)]
    if isinstance(ref, ModelRef) and ref.case:
        names.append((READOUTS, loaded.readout_key(ref, ref.case)))
    return {name: packed for name in names if (packed := pack(store, name))}
