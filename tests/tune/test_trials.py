"""One run on a tuning problem: its score, and what becomes of a run that fails."""

import pytest

from mubench.tune.problems import choose_problems, tuning_task
from mubench.tune.trials import InThisProcess, RunJob


@pytest.fixture
def job(noisy, tiny_task, library):
    task = tuning_task(tiny_task, 1, 0)
    (problem,) = choose_problems(library.loaded, "twin", 1, 0)

    def make(**settings):
        return RunJob(task, library.store.root, "cpu", noisy, False, settings, problem)

    return make


def test_without_any_change_a_run_scores_as_doing_nothing(job):
    score = job(noise=0.0)()
    assert (score.status, score.lost_accuracy) == ("ok", 0.0)
    assert score.margin_distance == score.nothing > 0
    assert 0 < score.retrain_share < 0.1
    worse = job(noise=0.5)()
    assert worse.margin_distance > score.margin_distance
    assert worse.lost_accuracy > worse.lost_stderr > 0


def test_a_run_that_spoils_the_model_has_a_status(job):
    score = job(noise=1e38)()
    assert score.status == "diverged"
    assert score.epochs_equivalent > 0


def test_what_a_job_raises_is_in_its_future():
    with pytest.raises(ZeroDivisionError):
        InThisProcess().submit(lambda: 1 / 0).result()
    assert InThisProcess().submit(lambda: 2).result() == 2
