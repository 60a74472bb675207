"""Worker processes that run jobs.

`Executor` is the interface, so that another engine, such as a cluster, can take its place.
`LocalExecutor` implements it with processes on this machine. Nothing here imports torch at the top:
a worker must set its number of threads before torch is imported.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeVar

from .cores import usable_cores

T = TypeVar("T")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables from which the numerical libraries take their number of threads."""


_to_parent: "Connection[Any, Any] | None" = None  # set in a worker process only


def report(value: Any) -> None:
    """Sends a progress report to the process that submitted the running job.

    Args:
        value: anything that can be pickled; the submitter's `on_report` is called with it.
    """
    assert _to_parent, "only a job in a worker has anyone to report to"
    _to_parent.send(("report", value))


@dataclass(frozen=True)
class WorkerPolicy:
    """How many workers share a device, and how many threads each has.

    On the CPU every worker has one thread, whatever the machine has free. Otherwise a number would
    depend on what else was running. As many workers run as this process may use cores. A GPU has
    one worker.
    """

    most_workers: int
    """Most workers at once."""
    threads: int | None
    """Threads of a worker on the CPU. None: as many as torch takes by itself."""

    @classmethod
    def for_device(cls, device_type: str) -> "WorkerPolicy":
        """The policy for a kind of device, such as `cpu` or `cuda`."""
        return cls(usable_cores(), 1) if device_type == "cpu" else cls(1, None)

    def num_workers(self, num_jobs: int) -> int:
        """Workers for so many jobs, at least one."""
        return max(1, min(num_jobs, self.most_workers))


class Executor(Protocol):
    """Runs jobs somewhere. A job must be picklable and must carry all its inputs."""

    @property
    def num_workers(self) -> int:
        """How many jobs can run at the same time, at least one. It may change."""

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job as soon as a worker is free.

        Returns:
            The job's future. It raises the job's exception, or `WorkerLost`.
        """

    def close(self) -> None:
        """Ends all workers, also those that run a job."""


class WorkerLost(RuntimeError):  # noqa: N818 - becomes a failure of one job
    """A worker process ended while it had a job."""


class LocalExecutor:
    """Worker processes on this machine. A worker runs job after job until it dies."""

    def __init__(self, num_workers: int, *, threads: int | None = None):
        """Starts no process yet: a worker starts with its first job.

        Args:
            num_workers: how many jobs run at once.
            threads: that each worker has on the CPU. None: as many as torch takes by itself.
        """
        self.num_workers = num_workers
        self._threads = threads
        self._jobs: queue.SimpleQueue[_Submitted | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._workers: set[_Worker] = set()
        self._is_closed = False
        for _ in range(num_workers):
            threading.Thread(target=self._drive, daemon=True).start()

    def submit(
        self, job: Callable[[], T], on_report: Callable[[Any], None] | None = None
    ) -> "Future[T]":
        """Runs a job as soon as a worker is free.

        Args:
            job: a picklable function without parameters.
            on_report: called, in another thread, with every value that the job passes to `report`.

        Returns:
            The job's future. It raises the job's exception, or `WorkerLost`.
        """
        future: Future[T] = Future()
        self._jobs.put(_Submitted(job, future, on_report))
        return future

    def close(self) -> None:
        """Ends all workers, also those that run a job."""
        with self._starting:
            self._is_closed = True
        for worker in list(self._workers):
            worker.end()
        for _ in range(self.num_workers):
            self._jobs.put(None)  # wakes a thread that waits for a job

    def _drive(self) -> None:
        """Passes jobs to one worker process and starts a new process when that one is lost."""
        worker: _Worker | None = None
        while (submitted := self._jobs.get()) and not self._is_closed:
            job, future, on_report = submitted
            try:
                worker = worker or self._start()
                kind, value = worker.run(job, on_report)
            except (EOFError, OSError) as error:
                reason = f"cannot start a worker: {error}"
                if worker:
                    reason = f"its worker was lost, {worker.end(patience_seconds=5)}"
                    self._workers.discard(worker)
                worker = None
                future.set_exception(WorkerLost(reason))
            except Exception as error:  # such as a job that cannot be pickled: a bug
                future.set_exception(error)
            else:
                if kind == "raised":
                    future.set_exception(value)
                else:
                    future.set_result(value)

    def _start(self) -> "_Worker":
        with self._starting:  # one at a time, and none after `close`
            if self._is_closed:
                raise EOFError("the executor is closed")
            worker = _Worker(self._threads)
            self._workers.add(worker)
        return worker


class _Submitted(NamedTuple):
    job: Callable[[], Any]
    future: "Future[Any]"
    on_report: Callable[[Any], None] | None


class _Worker:
    def __init__(self, threads: int | None):
        context = multiprocessing.get_context("spawn")
        self._connection, worker_end = context.Pipe()
        self._process = context.Process(target=_work, args=(worker_end, threads), daemon=True)
        with _without_main():
            self._process.start()
        # Only the worker may hold its end open. Otherwise `recv` would not notice its death.
        worker_end.close()

    def run(
        self, job: Callable[[], Any], on_report: Callable[[Any], None] | None
    ) -> tuple[str, Any]:
        """Runs a job in the worker process.

        Returns:
            "result" and the job's value, or "raised" and its exception.
        """
        self._connection.send(job)
        while True:
            kind, value = self._connection.recv()
            if kind != "report":
                return kind, value
            if on_report:
                on_report(value)

    def end(self, patience_seconds: float = 0) -> str:
        """Ends the process; returns its exit code as text.

        Args:
            patience_seconds: how long to wait for the process to end by itself before it is killed.
        """
        self._process.join(patience_seconds)
        self._process.kill()
        self._process.join()
        return f"exit code {self._process.exitcode}"


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the main module, which a new process would run first.

    Otherwise a script that starts workers without asking whether it is the main module would start
    itself again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(connection: "Connection[Any, Any]", threads: int | None) -> None:
    """The main loop of a worker process: runs jobs until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    _die_with_parent()
    if threads:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        import torch

        torch.set_num_threads(threads)
    global _to_parent
    _to_parent = connection
    with contextlib.suppress(EOFError):
        while True:
            job = connection.recv()
            try:
                answer = "result", job()
            except Exception as error:
                answer = "raised", error
            connection.send(answer)


def _die_with_parent() -> None:
    """Starts a thread that ends this process when its parent process is gone, for any reason."""
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
