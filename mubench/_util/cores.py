"""How many cores this process may use, which is often fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may use, at least one.

    The least of what the machine has and of three limits: the affinity, such as `taskset` sets; the
    quota of a control group, as of containers; and `SLURM_CPUS_PER_TASK`, as of a SLURM job.
    """
    limits = [os.cpu_count() or 1, *_quotas()]
    if hasattr(os, "sched_getaffinity"):  # on Linux only
        limits.append(len(os.sched_getaffinity(0)))
    if (text := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdecimal():
        limits.append(int(text))
    return max(1, min(limits))


def _quotas() -> Iterator[int]:
    """Whole cores that each control group of this process has in time, its ancestors included."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 names no controllers, and its files lie in the root.
        root = CGROUPS / controllers if controllers else CGROUPS
        own = root / group.lstrip("/")
        # In a container the group's own folder is often not there, and its files lie in the root.
        for folder in (own, *(path for path in own.parents if path.is_relative_to(root))):
            try:
                quota, period = _quota(folder, is_version_2=not controllers)
            except (OSError, ValueError):  # not there, or "max"
                continue
            if quota > 0:
                yield max(1, math.floor(quota / period))


def _quota(folder: Path, *, is_version_2: bool) -> tuple[int, int]:
    """Microseconds of all cores together that a group has per period, and those of a period."""
    if is_version_2:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota), int(period)
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quota, period = ((folder / name).read_text() for name in names)
    return int(quota), int(period)
