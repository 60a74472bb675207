"""Jobs of a sweep: they travel, never raise, and leave a record of a failure."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from mubench.gold.build import TrainJob
from mubench.record.folder import read_record
from mubench.run.sweep.jobs import Job, JobResult, MeasureJob
from mubench.run.sweep.plan import in_order, make_plans
from mubench.training import loop

GRID = 'tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]'


@pytest.fixture
def jobs(read, place):
    """Two trainings and two measurements."""
    return in_order(make_plans(read(GRID), place))


def test_a_job_can_be_pickled(jobs):
    assert {type(job.work) for job in jobs} == {TrainJob, MeasureJob}
    assert pickle.loads(pickle.dumps(jobs)) == jobs


def test_a_job_never_raises(jobs):
    def broken():
        raise OSError("no room for tiny\nand more")

    done = replace(jobs[0], work=broken)()
    assert (done.status, done.error) == ("error", "OSError: no room for tiny")
    assert "in broken" in done.trace
    assert done.seconds > 0


def test_what_another_process_trained_is_not_trained_again(library, place, monkeypatch):
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("it trains"))
    tiny = library.loaded
    for ref in library.needed(tiny.cases[:1]):
        work = TrainJob(tiny.task, place.cache, place.device, ref.seed, ref.case)
        done = Job(work, ref.label, estimate_seconds=1.0, gives=ref.key)()
        assert replace(done, seconds=0.0) == JobResult("ok")


def test_a_measurement_that_broke_off_leaves_a_record_and_a_note(jobs):
    job = next(job for job in jobs if isinstance(job.work, MeasureJob))
    job.work.record_failure(JobResult("error", "disk full", trace="Traceback: disk full"))
    record = read_record(Path(job.gives))
    assert (record.status, record.error, record.metrics) == ("error", "disk full", {})
    assert record.case == job.work.cell.case.id
    assert record.head == job.work.head
    note = Path(job.gives).with_suffix(".traceback.txt")
    assert note.read_text() == "Traceback: disk full\n"
