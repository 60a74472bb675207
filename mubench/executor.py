"""Where the jobs of a sweep run: the seam for another engine, and the one for this machine.

Nothing here imports torch, so that a worker can be set to one thread before it does.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Executor(Protocol):
    """Runs jobs somewhere. A job can be pickled, knows all it needs, and does not raise."""

    num_workers: int

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job as soon as a worker is free; the future raises if its worker is lost."""

    def close(self) -> None:
        """Ends the workers, and with them what they are at."""


class WorkerLost(RuntimeError):  # noqa: N818 - becomes a failure of one job
    """A worker process ended while it had a job."""


class LocalExecutor:
    """Worker processes on this machine, each kept for as many jobs as it survives."""

    def __init__(self, num_workers: int, *, one_thread: bool):
        self.num_workers = num_workers
        self._environment = ONE_THREAD if one_thread else {}
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._workers: set[_Worker] = set()
        self._is_closed = False
        for _ in range(num_workers):
            threading.Thread(target=self._drive, daemon=True).start()

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job as soon as a worker is free; the future raises if its worker is lost."""
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future

    def close(self) -> None:
        """Ends the workers, and with them what they are at."""
        with self._starting:
            self._is_closed = True
        for worker in list(self._workers):
            worker.end()

    def _drive(self) -> None:
        """Hands jobs to one worker, and starts another when that is lost."""
        worker: _Worker | None = None
        while not self._is_closed:
            job, future = self._jobs.get()
            try:
                worker = worker or self._start()
                future.set_result(worker.run(job))
            except (EOFError, OSError) as error:
                reason = f"cannot start a worker: {error}"
                if worker:
                    reason = f"its worker was lost, {worker.end(patience_seconds=5)}"
                    self._workers.discard(worker)
                worker = None
                future.set_exception(WorkerLost(reason))
            except Exception as error:  # a job that cannot be pickled: a bug, to be seen
                future.set_exception(error)

    def _start(self) -> "_Worker":
        with self._starting:  # not two at once, and none after the end
            if self._is_closed:
                raise EOFError("the sweep is over")
            worker = _Worker(self._environment)
            self._workers.add(worker)
        return worker


class _Worker:
    def __init__(self, environment: dict[str, str]):
        context = multiprocessing.get_context("spawn")
        self._connection, its = context.Pipe()
        self._process = context.Process(target=_work, args=(its, environment), daemon=True)
        self._process.start()
        its.close()

    def run(self, job: Callable[[], T]) -> T:
        self._connection.send(job)
        result: T = self._connection.recv()
        return result

    def end(self, patience_seconds: float = 0) -> str:
        """Sees to it that it is gone; returns what became of it."""
        self._process.join(patience_seconds)
        self._process.kill()
        self._process.join()
        return f"exit code {self._process.exitcode}"


def _work(connection: "Connection[Any, Any]", environment: dict[str, str]) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    die_with_parent()
    os.environ.update(environment)
    if environment:
        import torch

        torch.set_num_threads(1)
    with contextlib.suppress(EOFError):
        while True:
            connection.send(connection.recv()())


def die_with_parent() -> None:
    """Ends this process when the one that spawned it is gone, however that went."""
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
