"""Ray clusters on this machine, each node a set of processes with a cache of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class SmallCluster:
    """A cluster of nodes with one CPU each; the head has none."""

    def __init__(self, folder: Path):
        os.environ.update(RAY_worker_niceness="0", RAY_USAGE_STATS_ENABLED="0")
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.num_started = 0
        options = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self.address: str = self.cluster.address
        self.nodes: list[Any] = []

    def add(self, **options: Any) -> None:
        """Starts a node."""
        self.num_started += 1
        cache = self.folder / f"node-{self.num_started}"
        variables = {"MUBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        options = {"num_cpus": 1, "env_vars": variables} | options
        self.nodes.append(self.cluster.add_node(**options))

    def kill(self) -> None:
        """Kills the node that was started first, without a warning."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)


@contextmanager
def small_cluster(folder: Path, num_nodes: int) -> Iterator[SmallCluster]:
    """A cluster that is gone afterwards.

    Args:
        folder: for the caches of the nodes.
        num_nodes: how many nodes there are, beside the head.
    """
    cluster = SmallCluster(folder)
    try:
        for _ in range(num_nodes):
            cluster.add()
        yield cluster
    finally:
        cluster.cluster.shutdown()
