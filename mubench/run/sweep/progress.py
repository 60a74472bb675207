"""How far a sweep is, by the clock and not only by the jobs that ended."""

import time
from collections.abc import Callable, Sequence

from .jobs import Job

MOST_SHARE = 0.99
"""The share of a sweep that still has jobs is at most this."""


class Progress:
    """The share of a sweep that is done, and the seconds that are left.

    What jobs took corrects the estimates of those that are left.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic):
        """The progress of a sweep that starts now.

        Args:
            jobs: of the sweep.
            clock: gives seconds.
        """
        self.num_jobs = len(jobs)
        self.num_ended = 0
        self._clock = clock
        self._started = self._last_end = clock()
        self._left = sum(job.estimate_seconds for job in jobs)
        # An average job that took what was estimated keeps the first end from ruling alone.
        self._estimated = self._took = self._left / max(1, len(jobs))
        self._share = 0.0

    def ended(self, job: Job, seconds: float) -> None:
        """Takes note of a job that ended.

        Args:
            job: the job.
            seconds: that the job took; 0.0 if it was not run.
        """
        self.num_ended += 1
        self._left -= job.estimate_seconds
        self._last_end = self._clock()
        if seconds:
            self._estimated += job.estimate_seconds
            self._took += seconds

    def seconds_left(self, num_workers: int) -> float:
        """Seconds until the sweep should end with so many workers."""
        pace = self._took / self._estimated if self._estimated else 1.0
        since = self._clock() - self._last_end
        return max(0.0, pace * max(0.0, self._left) / num_workers - since)

    def share(self, num_workers: int) -> float:
        """The share of the sweep's time that is over, from 0 to 1; never falls."""
        if self.num_ended == self.num_jobs:
            return 1.0
        passed = self._clock() - self._started
        left = self.seconds_left(num_workers)
        share = passed / (passed + left) if passed else 0.0
        self._share = max(self._share, min(share, MOST_SHARE))
        return self._share
