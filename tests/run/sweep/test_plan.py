"""Planning a sweep: its parts, what is left to do, in which order, and doing it."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from mubench._util.workers import WorkerLost
from mubench.gold.build import TrainJob
from mubench.record.folder import ResultsFolder
from mubench.record.schema import Cost, Record
from mubench.run.sweep import plan as plans
from mubench.run.sweep.jobs import Job, JobResult


def test_shards_are_disjoint_and_make_up_the_grid():
    cells = list(range(23))
    parts = [plans.shard(cells, number, 5) for number in range(1, 6)]
    assert [cell for part in parts for cell in part] == cells
    assert {len(part) for part in parts} == {4, 5}
    assert plans.shard(cells, 1, 1) == cells
    assert plans.shard(cells[:2], 2, 16) == []


def test_a_plan_knows_what_is_cached_and_what_was_measured(read, place):
    """Of `tiny` the models of the first case are there."""
    text = 'tasks = ["tiny"]\nmethods = ["finetune"]\nseeds = [0, 1]\ncases = ["b-6", "d-6"]'
    cells = read(text)
    (plan,) = plans.make_plans(cells, place)
    assert (plan.num_models, len(plan.trainings), plan.num_kept, len(plan.cells)) == (5, 2, 0, 4)
    by_case = {job.work.cell.case.id: job for job in plan.cells}
    assert not by_case["b-6"].needs
    assert by_case["d-6"].needs == {job.gives for job in plan.trainings}
    assert plan.estimate_seconds > 4 * plans.CELL_SECONDS

    job = by_case["b-6"]
    assert job.work.head.threads == 1
    assert job.work.head.isolated
    Path(job.gives).parent.mkdir(parents=True)
    Path(job.gives).write_text("no record")
    assert len(plans.make_plans(cells, place)[0].cells) == 4


def test_a_plan_knows_what_a_method_took_elsewhere(tiny, read, place, monkeypatch):
    monkeypatch.setattr(plans, "estimate_seconds", lambda loaded, count: 600.0)  # a training
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6"]')
    scoring = 600 / (3 * tiny.task.train.epochs)

    def method_seconds():
        ((job,),) = [plan.cells for plan in plans.make_plans(cells, place)]
        return job.estimate_seconds - plans.CELL_SECONDS - scoring

    def took(share, **changes):
        cost = Cost(
            seconds=5 * share, retrain_seconds=5, epochs_equivalent=1, retrain_epochs_equivalent=1,
            forward_samples=1, backward_samples=1, peak_memory_bytes=1,
        )  # fmt: skip
        outcome = {"status": changes.pop("status", "ok"), "cost": cost}
        other = head.model_copy(update={"seed": 7} | changes)
        record = Record.of(other, **outcome, git_revision=None, started_at="now")
        ResultsFolder(place.results).write(record, None)

    ((job,),) = [plan.cells for plan in plans.make_plans(cells, place)]
    head = job.work.head
    assert method_seconds() == pytest.approx(600 * tiny.task.measure.budget)
    took(0.9, parameters={"lr": 2.0})
    took(0.9, status="error")
    assert method_seconds() == pytest.approx(600 * tiny.task.measure.budget)
    took(0.3, task="other@1")
    assert method_seconds() == pytest.approx(600 * 0.3)
    took(0.1)
    took(0.2, seed=8)
    assert method_seconds() == pytest.approx(600 * 0.15), "the task's own records count first"


def test_what_costs_least_goes_first_and_after_what_it_needs(read, place):
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]')
    made = plans.make_plans(cells, place)
    jobs = plans.in_order(made)
    assert [job.label for job in jobs] == [
        "tiny: finetune on b-6, seed 0",
        *sorted((f"tiny: gold {n} of d-6" for n in (1, 2)), key=[j.label for j in jobs].index),
        "tiny: finetune on d-6, seed 0",
    ]


def make_job(label, gives="", needs=(), work=None) -> Job:
    return Job(work, label, 1.0, gives or label, frozenset(needs))


class InlineExecutor:
    """Runs a job when it is submitted, and keeps the order."""

    num_workers = 2

    def __init__(self, results=None):
        self.order = []
        self.results = results or {}

    def submit(self, job):
        self.order.append(job.label)
        future = Future()
        result = self.results.get(job.label, JobResult("ok"))
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        return future

    def close(self):
        pass


def test_jobs_wait_for_what_they_need_and_a_failure_stops_only_those():
    train = TrainJob(None, Path("cache"), "cpu", 0, None)
    jobs = [
        make_job("gold", work=train),
        make_job("bad gold", work=train),
        make_job("needs gold", needs=["gold"]),
        make_job("needs bad gold", needs=["gold", "bad gold"]),
        make_job("free"),
        make_job("lost"),
    ]
    executor = InlineExecutor({"bad gold": JobResult("error", "no"), "lost": WorkerLost("gone")})
    outcomes = {job.label: done for job, done in plans.run(jobs, executor)}
    assert executor.order == ["gold", "bad gold", "needs gold", "free", "lost"]
    assert [label for label, done in outcomes.items() if done.status == "ok"] == [
        "gold", "needs gold", "free"
    ]  # fmt: skip
    assert outcomes["needs bad gold"].error == "a model that it needs could not be trained"
    assert outcomes["lost"].error == "gone"
