"""Progress goes by the clock, and what jobs took corrects what is left."""

import pytest

from mubench.run.sweep.jobs import Job
from mubench.run.sweep.progress import Progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def jobs(*seconds):
    return [Job(None, f"job {i}", each, gives=str(i)) for i, each in enumerate(seconds)]


def test_the_clock_moves_a_sweep_of_which_nothing_has_ended(clock):
    progress = Progress(jobs(10, 10), clock)
    shares = []
    for _ in range(12):
        shares.append(progress.share(2))
        clock.now += 1
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[5] == pytest.approx(0.5)
    assert shares[-1] == 0.99
    assert progress.seconds_left(2) == 0


def test_jobs_that_took_longer_make_what_is_left_longer(clock):
    all_jobs = jobs(10, 10, 10, 10)
    progress = Progress(all_jobs, clock)
    assert progress.seconds_left(1) == 40
    clock.now += 30
    progress.ended(all_jobs[0], 30.0)
    assert progress.seconds_left(1) == pytest.approx(2 * 30)  # half way to three times
    clock.now += 30
    progress.ended(all_jobs[1], 30.0)
    assert progress.seconds_left(1) == pytest.approx(7 / 3 * 20)
    assert progress.seconds_left(2) == pytest.approx(7 / 3 * 10)


def test_a_job_that_was_not_run_says_nothing_of_the_pace(clock):
    all_jobs = jobs(10, 10)
    progress = Progress(all_jobs, clock)
    progress.ended(all_jobs[0], 0.0)
    assert progress.seconds_left(1) == 10
    progress.ended(all_jobs[1], 9.0)
    assert progress.share(1) == 1
    assert progress.num_ended == 2
