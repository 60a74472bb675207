"""Cores that a process may use: the least of what each limit allows."""

import pytest

from mubench._util import cores
from mubench._util.cores import usable_cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets the cores of the machine, the affinity, a line of groups, and files of groups."""
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")

    def make(count=64, affinity=64, groups="", **files):
        monkeypatch.setattr("os.cpu_count", lambda: count)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        (tmp_path / "own").write_text(groups)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")

    return make


def test_the_affinity_limits(machine):
    machine(affinity=3)
    assert usable_cores() == 3
    machine(count=None, affinity=3)
    assert usable_cores() == 1


@pytest.mark.parametrize(("value", "cores"), [("5", 5), ("0", 1), ("100", 64), ("many", 64)])
def test_slurm_limits(machine, monkeypatch, value, cores):
    machine()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", value)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 64), ("250000 100000", 2), ("50000 100000", 1)]
)
@pytest.mark.parametrize("place", ["cpu_DOT_max", "slurm__cpu_DOT_max", "slurm__job__cpu_DOT_max"])
def test_a_quota_of_version_2_limits_the_groups_below_it(machine, quota, cores, place):
    machine(groups="0::/slurm/job\n", **{place: quota})
    assert usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 64), ("400000", 4)])
@pytest.mark.parametrize("folder", ["cpu,cpuacct__docker__abc", "cpu,cpuacct"])
def test_a_quota_of_version_1(machine, quota, cores, folder):
    machine(
        groups="3:cpuset:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        **{f"{folder}__cpu_DOT_cfs_quota_us": quota, f"{folder}__cpu_DOT_cfs_period_us": "100000"},
    )
    assert usable_cores() == cores


def test_without_control_groups(machine):
    machine()
    cores.OWN_GROUPS.unlink()
    assert usable_cores() == 64
