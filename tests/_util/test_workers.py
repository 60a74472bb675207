"""Worker processes: lost ones, and what their jobs report and raise."""

import os
import signal
import threading
from dataclasses import dataclass

import pytest
import torch

from mubench._util.workers import LocalExecutor, WorkerLost, WorkerPolicy, report


def square(number: int) -> int:
    return number * number


@dataclass(frozen=True)
class Square:
    number: int

    def __call__(self) -> int:
        return square(self.number)


@dataclass(frozen=True)
class Die:
    def __call__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Threads:
    def __call__(self) -> tuple[int, str | None]:
        return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")


def test_a_lost_worker_costs_its_own_job_alone():
    executor = LocalExecutor(2, threads=1)
    try:
        futures = [executor.submit(job) for job in (Square(3), Die(), Square(4), Square(5))]
        assert [futures[i].result(500) for i in (0, 2, 3)] == [9, 16, 25]
        with pytest.raises(WorkerLost, match="exit code -9"):
            futures[1].result(500)
        assert executor.submit(Threads()).result(500) == (1, "1")
    finally:
        executor.close()


@dataclass(frozen=True)
class Fail:
    def __call__(self) -> None:
        report("halfway")
        raise OSError("disk full")


def test_a_job_reports_and_what_it_raises_is_its_futures():
    before = set(threading.enumerate())
    executor = LocalExecutor(1, threads=1)
    reports = []
    try:
        pid = executor.submit(os.getpid).result(500)
        with pytest.raises(OSError, match="disk full"):
            executor.submit(Fail(), reports.append).result(500)
        assert reports == ["halfway"]
        assert executor.submit(os.getpid).result(500) == pid, "the worker survives it"
    finally:
        executor.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), "a closed executor leaves no thread behind"


def test_as_many_train_at_once_as_there_are_cores_and_models(monkeypatch):
    monkeypatch.setattr("mubench._util.workers.usable_cores", lambda: 4)
    cpu, cuda = (WorkerPolicy.for_device(name) for name in ("cpu", "cuda"))
    assert [cpu.num_workers(count) for count in (0, 1, 3, 9)] == [1, 1, 3, 4]
    assert cuda.num_workers(9) == 1


def test_a_number_does_not_depend_on_what_else_runs(monkeypatch):
    """A worker has one thread on the CPU, and with a GPU as many as torch takes by itself."""
    for cores in (1, 64):
        monkeypatch.setattr("mubench._util.workers.usable_cores", lambda cores=cores: cores)
        assert WorkerPolicy.for_device("cpu") == WorkerPolicy(cores, 1)
        assert WorkerPolicy.for_device("cuda") == WorkerPolicy(1, None)
