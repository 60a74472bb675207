"""One run on a tuning problem: its score, and what becomes of a run that fails."""

import pytest
import torch

from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.gold.train import train
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


DROPS = '''
"""A method that never answers with the class of D_f."""
from dataclasses import dataclass
from typing import ClassVar
import torch

@dataclass(frozen=True, kw_only=True)
class Drops:
    """Takes the class out of the head."""
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        with torch.no_grad():
            problem.original.head.bias[problem.forget.labels[0]] = -100
        return problem.original
'''


def test_the_accuracy_on_a_whole_class_is_not_lost(tmp_path, tiny_task, library):
    (tmp_path / "drops.py").write_text(DROPS)
    forget = tiny_task.forget.model_copy(update={"kind": "class", "sizes": ()})
    whole = tiny_task.model_copy(update={"forget": forget})
    task = tuning_task(whole, 1, 0, library.loaded.data.class_names)
    own = GoldLibrary(LoadedTask(task, torch.device("cpu")), library.store)
    (problem,) = choose_problems(own.loaded, "case", 1, 0)
    for ref in own.missing([problem.case], {0}):
        train(own, ref)
    drops = f"{tmp_path / 'drops.py'}:Drops"
    score = RunJob(task, own.store.root, "cpu", drops, False, {}, problem)()
    assert score.margin_distance < score.nothing
    assert score.delta_signed == 0
    assert score.lost_accuracy <= 0


def test_a_run_that_spoils_the_model_has_a_status(job):
    score = job(noise=1e38)()
    assert score.status == "diverged"
    assert score.epochs_equivalent > 0


def test_what_a_job_raises_is_in_its_future():
    with pytest.raises(ZeroDivisionError):
        InThisProcess().submit(lambda: 1 / 0).result()
    assert InThisProcess().submit(lambda: 2).result() == 2
