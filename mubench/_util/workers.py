"""Where jobs run: the seam for another engine, and the one for this machine.

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
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


_to_parent: "Connection[Any, Any] | None" = None  # set in a worker


def report(value: Any) -> None:
    """Tells whoever submitted the job that runs in this worker how it goes."""
    assert _to_parent, "only a job in a worker has anyone to report to"
    _to_parent.send(("report", value))


class Executor(Protocol):
    """Runs jobs somewhere. A job can be pickled and knows all it needs."""

    num_workers: int

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Runs a job as soon as a worker is free.

        Its future raises what the job raises, or `WorkerLost`.
        """

    def close(self) -> None:
        """Ends the workers, and with them what they are at."""


class WorkerLost(RuntimeError):  # noqa: N818 - becomes a failure of one job
    """A worker process ended while it had a job."""


class LocalExecutor:
    """Worker processes on this machine, each kept for as many jobs as it survives."""

    def __init__(self, num_workers: int, *, one_thread: bool):
        self.num_workers = num_workers
        self._environment = ONE_THREAD if one_thread else {}
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
            job: can be pickled.
            on_report: is given, in another thread, what the job hands to `report`.

        Returns:
            Its future, which raises what the job raises, or `WorkerLost`.
        """
        future: Future[T] = Future()
        self._jobs.put(_Submitted(job, future, on_report))
        return future

    def close(self) -> None:
        """Ends the workers, and with them what they are at."""
        with self._starting:
            self._is_closed = True
        for worker in list(self._workers):
            worker.end()
        for _ in range(self.num_workers):
            self._jobs.put(None)  # wakes a thread that waits for a job

    def _drive(self) -> None:
        """Hands jobs to one worker, and starts another when that is lost."""
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
            except Exception as error:  # a job that cannot be pickled: a bug, to be seen
                future.set_exception(error)
            else:
                if kind == "raised":
                    future.set_exception(value)
                else:
                    future.set_result(value)

    def _start(self) -> "_Worker":
        with self._starting:  # not two at once, and none after the end
            if self._is_closed:
                raise EOFError("the executor is closed")
            worker = _Worker(self._environment)
            self._workers.add(worker)
        return worker


class _Submitted(NamedTuple):
    job: Callable[[], Any]
    future: "Future[Any]"
    on_report: Callable[[Any], None] | None


class _Worker:
    def __init__(self, environment: dict[str, str]):
        context = multiprocessing.get_context("spawn")
        self._connection, its = context.Pipe()
        self._process = context.Process(target=_work, args=(its, environment), daemon=True)
        self._process.start()
        its.close()

    def run(
        self, job: Callable[[], Any], on_report: Callable[[Any], None] | None
    ) -> tuple[str, Any]:
        """Has a job run; returns "result" or "raised", and what."""
        self._connection.send(job)
        while True:
            kind, value = self._connection.recv()
            if kind != "report":
                return kind, value
            if on_report:
                on_report(value)

    def end(self, patience_seconds: float = 0) -> str:
        """Sees to it that it is gone; returns what became of it."""
        self._process.join(patience_seconds)
        self._process.kill()
        self._process.join()
        return f"exit code {self._process.exitcode}"


def _work(connection: "Connection[Any, Any]", environment: dict[str, str]) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    _die_with_parent()
    os.environ.update(environment)
    if environment:
        import torch

        torch.set_num_threads(1)
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
    """Ends this process when the one that spawned it is gone, however that went."""
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
