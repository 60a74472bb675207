"""Jobs of a sweep: they travel, never raise, and leave a record of a failure."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from mubench.record.folder import read_record
from mubench.run.sweep import jobs as module
from mubench.run.sweep.jobs import Done, Measurement, Training
from mubench.run.sweep.plan import in_order, make_plans
from mubench.training import loop

GRID = 'tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]'


@pytest.fixture
def jobs(read, place):
    """Two trainings and two measurements."""
    return in_order(make_plans(read(GRID), place))


def test_a_job_can_be_pickled(jobs):
    assert {type(job.work) for job in jobs} == {Training, Measurement}
    assert pickle.loads(pickle.dumps(jobs)) == jobs


class Broken:
    def perform(self, loaded, place):
        raise OSError(f"no room for {loaded.task.name}\nand more")


def test_a_job_never_raises(jobs, monkeypatch):
    monkeypatch.setattr(module, "_isolation", lambda place: None)
    done = replace(jobs[0], work=Broken())()
    assert (done.status, done.error) == ("error", "OSError: no room for tiny")
    assert "in perform" in done.trace
    assert done.seconds > 0


def test_what_another_process_trained_is_not_trained_again(tiny, tiny_store, place, monkeypatch):
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("it trains"))
    case = tiny.cases[0]
    for ref in (tiny.original, *tiny.golds(case)):
        assert Training(ref.seed, ref.case).perform(tiny, place) == Done("ok")


def test_a_measurement_that_broke_off_leaves_a_record_and_a_note(jobs, place):
    job = next(job for job in jobs if isinstance(job.work, Measurement))
    job.work.record_failure(Done("error", "disk full", trace="Traceback: disk full"), place)
    record = read_record(Path(job.gives))
    assert (record.status, record.error, record.metrics) == ("error", "disk full", {})
    assert record.case == job.work.cell.case.id
    note = Path(job.gives).with_suffix(".traceback.txt")
    assert note.read_text() == "Traceback: disk full\n"
