"""Executors for tests."""

from concurrent.futures import Future

from mubench.gold.build import TimeJob
from mubench.run.sweep.jobs import JobResult


class InlineExecutor:
    """Ends a job when it is submitted, with a result that was set beforehand, and keeps the order.

    Results are by label; a list of them is for one attempt after the other.
    """

    num_workers = 2

    def __init__(self, results=None, training_seconds=1.0):
        self.order = []
        self.results = results or {}
        self.training_seconds = training_seconds

    def submit(self, job):
        future = Future()
        if isinstance(job, TimeJob):
            future.set_result(self.training_seconds)
            return future
        self.order.append(job.label)
        result = self.results.get(job.label, JobResult("ok"))
        if isinstance(result, list):
            result = result.pop(0)
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        return future

    def close(self):
        pass
