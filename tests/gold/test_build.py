"""Training what is missing, several at once."""

import pickle
from concurrent.futures import Future

import pytest
import torch

from mubench.gold import build as building
from mubench.gold.build import TrainJob, build, build_missing, retrain_seconds
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.training import loop
from tests.helpers.stores import copy_of


def test_diverging_recipes_are_one_error(tiny_task, empty):
    recipe = tiny_task.train.model_copy(update={"lr": 1e9, "schedule": "constant"})
    task = tiny_task.model_copy(update={"train": recipe})
    loaded = LoadedTask(task, torch.device("cpu"))
    library = GoldLibrary(loaded, empty)
    with pytest.raises(loop.Diverged):
        build(library, [loaded.originals[0]])
    assert library.missing(()) == [loaded.originals[0]]


def test_a_job_can_be_pickled_and_trains_what_is_not_there(library, empty):
    loaded = library.loaded
    ref = loaded.golds(loaded.cases[0])[1]
    job = TrainJob(loaded.task, empty.root, "cpu", ref.seed, ref.case)
    there = pickle.loads(pickle.dumps(job))
    assert there == job
    own = GoldLibrary(loaded, empty)
    with loop.threads(1):
        assert there() > 0
    assert own.is_ready(ref)
    weights = [lib.model_entry(ref).content("weights.safetensors") for lib in (own, library)]
    assert weights[0] == weights[1]


def test_a_job_of_a_log_can_be_pickled_and_makes_it(library, tmp_path):
    own = copy_of(library, tmp_path / "copy")
    loaded = own.loaded
    ref = loaded.update_log_ref(loaded.originals[0])
    job = TrainJob.of(ref, loaded.task, own.store.root, "cpu")
    there = pickle.loads(pickle.dumps(job))
    assert there == job
    with loop.threads(1):
        there()
    assert "b-12" in own.update_log_entry(ref).provenance["steps"]
    assert (
        own.update_log(ref, loaded.cases[1]).keys()
        == dict(loaded.fresh(0).named_parameters()).keys()
    )


def test_logs_are_made_after_the_originals_and_only_where_they_are_asked_for(
    library, empty, monkeypatch, capsys
):
    built = []
    monkeypatch.setattr(building, "build", lambda _, refs: built.append([x.label for x in refs]))
    own, cases = GoldLibrary(library.loaded, empty), library.loaded.cases[:1]
    build_missing(own, cases, [0, 1])
    models = ["original 0", "gold 1 of b-6", "gold 2 of b-6"]
    assert built == [models]
    build_missing(own, cases, [0, 1], update_logs=True)
    assert built[1:] == [models, ["original 0 with its log"]]
    said = capsys.readouterr().err
    assert said.count("for logs of updates: original 0 with its log, 1 at once") == 1


class Inline:
    """Runs a job when it is submitted."""

    num_workers = 3

    def __init__(self):
        self.submitted = 0

    def submit(self, job):
        self.submitted += 1
        future = Future()
        future.set_result(job())
        return future

    def close(self):
        pass


@pytest.mark.parametrize(("at_once", "submitted"), [(1, 1), (3, 6)])
def test_steps_are_timed_by_as_many_workers_as_will_train(tiny, monkeypatch, at_once, submitted):
    """With several, a first round brings them up."""
    monkeypatch.setattr(building, "TIMING_SECONDS", 0)
    monkeypatch.setattr(loop, "step_seconds", lambda *_: [1.0, 2.0, 9.0])
    executor = Inline()
    steps = 8 * 3  # 240 samples in batches of 32, 3 epochs
    assert retrain_seconds(executor, tiny.task, "cpu", at_once) == 2 * steps
    assert executor.submitted == submitted
