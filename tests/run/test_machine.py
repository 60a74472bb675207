"""The machine and the code that measure."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from mubench.run import machine
from mubench.run.machine import pick_device
from tests.helpers.gpus import GPU, FakeGpu
from tests.helpers.processes import ON_LINUX
from tests.helpers.repositories import git


def test_devices_by_name():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match="--device"):
            pick_device(name)


def test_a_gpu_has_one_name(monkeypatch):
    """Tensors on `cuda` say that they are on `cuda:0`."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda", 0)
    for name in ("cuda:2", "cuda:-1"):
        with pytest.raises(ValueError, match="--device"):
            pick_device(name)


def test_a_gpu_is_asked_for_its_name_and_its_own_peak(monkeypatch):
    FakeGpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert machine.device_name(GPU) == "GPU 0"
    assert machine.peak_memory_bytes(GPU) == 123


def test_the_harness_is_known_by_the_files_that_take_part(tmp_path, monkeypatch):
    copy = shutil.copytree(machine.HARNESS, tmp_path / "mubench")
    monkeypatch.setattr(machine, "HARNESS", copy)
    compute = machine.harness_sha256.__wrapped__  # not the cached one
    before = compute()
    assert before == machine.harness_sha256()
    with (copy / "board/pages/leaderboard.py").open("a") as file:
        file.write("# a comment\n")
    assert compute() == before
    with (copy / "run/flags.py").open("a") as file:
        file.write("# a comment\n")
    assert compute() != before


def test_the_revision_is_the_checkouts_and_says_when_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "HARNESS", tmp_path / "mubench")
    compute = machine.git_revision.__wrapped__
    assert compute() is None
    file = tmp_path / "a.py"
    file.write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "a")
    assert re.fullmatch("[0-9a-f]{12}", compute())
    file.write_text("changed")
    assert re.fullmatch("[0-9a-f]{12}-dirty", compute())


@pytest.mark.skipif(not ON_LINUX, reason="looks into /proc")
def test_the_peak_memory_of_this_process_is_in_bytes():
    status = Path("/proc/self/status").read_text()
    kilobytes = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    peak = machine.peak_memory_bytes(torch.device("cpu"))
    assert peak == pytest.approx(kilobytes * 1024, rel=0.05)
