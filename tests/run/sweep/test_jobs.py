"""Jobs of a sweep: they travel, never raise, and leave a record of a failure."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from mubench.gold.build import TrainJob
from mubench.gold.library import MODELS, READOUTS, UPDATE_LOGS
from mubench.record.folder import ResultsFolder, read_record
from mubench.run.cell import Measured, failed_record
from mubench.run.execute import MethodOutcome
from mubench.run.sweep.jobs import Job, JobResult, MeasureJob, reads
from mubench.run.sweep.plan import in_order, make_plans
from mubench.training import loop

GRID = 'tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]'


@pytest.fixture
def jobs(read, place, executor):
    """Two trainings and two measurements."""
    return in_order(make_plans(read(GRID), place, executor))


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
        assert (done.status, done.error, done.measured) == ("ok", None, None)


def test_a_measurement_that_broke_off_leaves_a_record_and_a_note(jobs):
    job = next(job for job in jobs if isinstance(job.work, MeasureJob))
    job.work.keep(JobResult("error", "disk full", trace="Traceback: disk full"))
    record = read_record(Path(job.gives))
    assert (record.status, record.error, record.metrics) == ("error", "disk full", {})
    assert record.case == job.work.cell.case.id
    assert record.head == job.work.head
    note = Path(job.gives).with_suffix(".traceback.txt")
    assert note.read_text() == "Traceback: disk full\n"


def test_a_worker_that_is_not_what_was_planned_does_not_measure(jobs, monkeypatch):
    work = next(job for job in jobs if isinstance(job.work, MeasureJob)).work
    monkeypatch.setattr("mubench.run.sweep.jobs._isolation", lambda place: None)
    planned = work.head.model_copy(update={"harness_sha256": "0" * 64, "device": "a far GPU"})
    with loop.threads(1):
        done = replace(work, head=planned)()
    assert done.status == "error"
    assert done.error.startswith("this worker is not what was planned: harness_sha256 is ")
    assert "planned a far GPU" in done.error


def test_what_was_measured_is_written_by_who_planned_it(library, jobs, place):
    work = next(job.work for job in jobs if isinstance(job.work, MeasureJob) and not job.needs)
    record = failed_record(work.head, MethodOutcome("error", "out of ideas"))
    measured = Measured(record, readout=None, references=(), trace="Traceback: ideas")
    assert not work.is_done()
    work.keep(JobResult("error", "out of ideas", measured=measured))
    results = ResultsFolder(place.results)
    assert read_record(results.record(work.head)) == record
    assert results.note(work.head).read_text() == "Traceback: ideas\n"


def test_a_job_names_what_it_reads(library, jobs):
    case = library.loaded.case("b-6")
    work = next(j.work for j in jobs if isinstance(j.work, MeasureJob) and j.work.cell.case == case)
    assert work.reads == reads(library.loaded, work.cell)
    original, of_original, *golds = work.reads
    assert len(golds) == 2
    assert of_original == (
        (READOUTS, library.loaded.readout_key(library.loaded.originals[0], case)),
    )
    for names in (original, *golds):
        assert any(library.store.holds(*name) for name in names)


def test_a_job_reads_the_log_that_its_method_takes_back(library, read, place, executor):
    loaded = library.loaded
    ref = loaded.update_log_ref(loaded.originals[0])
    grid = 'tasks = ["tiny"]\nmethods = ["takes-back"]\ncases = ["b-6"]'
    empty = replace(place, cache=place.results / "no cache")  # another test can have made the log
    jobs = {job.gives: job for job in in_order(make_plans(read(grid), empty, executor))}
    *trainings, cell = jobs.values()
    assert ((UPDATE_LOGS, ref.key),) in cell.work.reads
    assert jobs[ref.key].work.reads == (((MODELS, loaded.originals[0].key),),)
    assert cell.needs == {job.gives for job in trainings}
    assert len(trainings) == 4
