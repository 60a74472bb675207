"""Planning a sweep: its parts, what is left to do, in which order, and doing it."""

from dataclasses import replace
from pathlib import Path

import pytest

from mubench._util.workers import WorkerLost
from mubench.gold.build import TrainJob
from mubench.gold.library import UPDATE_LOGS
from mubench.record.folder import ResultsFolder
from mubench.record.schema import Cost, Record
from mubench.run.sweep import plan as plans
from mubench.run.sweep.jobs import Job, JobResult
from tests.helpers.executors import InlineExecutor
from tests.helpers.stores import keys


def test_shards_are_disjoint_and_make_up_the_grid():
    cells = list(range(23))
    parts = [plans.shard(cells, number, 5) for number in range(1, 6)]
    assert [cell for part in parts for cell in part] == cells
    assert {len(part) for part in parts} == {4, 5}
    assert plans.shard(cells, 1, 1) == cells
    assert plans.shard(cells[:2], 2, 16) == []


def test_a_plan_knows_what_is_cached_and_what_was_measured(read, place, executor):
    """Of `tiny` the models of the first case are there."""
    text = 'tasks = ["tiny"]\nmethods = ["finetune"]\nseeds = [0, 1]\ncases = ["b-6", "d-6"]'
    cells = read(text)
    (plan,) = plans.make_plans(cells, place, executor)
    assert (plan.num_models, len(plan.trainings), plan.num_kept, len(plan.cells)) == (5, 2, 0, 4)
    by_case = {job.work.cell.case.id: job for job in plan.cells}
    assert not by_case["b-6"].needs
    assert by_case["d-6"].needs == {job.gives for job in plan.trainings}
    assert plan.estimate_seconds > 4 * plans.JOB_SECONDS

    job = by_case["b-6"]
    assert job.work.head.threads == 1
    assert job.work.head.isolated
    Path(job.gives).parent.mkdir(parents=True)
    Path(job.gives).write_text("no record")
    assert len(plans.make_plans(cells, place, executor)[0].cells) == 4


def test_a_log_of_updates_is_made_once_before_the_cells_that_take_it_back(
    read, place, executor, tiny_store
):
    """Two seeds start from one original, and `finetune` asks for no log."""
    for key in keys(tiny_store, UPDATE_LOGS):  # another test may have made it
        tiny_store.remove(UPDATE_LOGS, key)
    text = 'tasks = ["tiny"]\nmethods = ["finetune", "takes-back"]\nseeds = [0, 1]\ncases = ["d-6"]'
    (plan,) = plans.make_plans(read(text), place, executor)
    (log,) = [job for job in plan.trainings if job.work.logs_updates]
    assert log.label == "tiny: original 0 with its log"
    assert len(plan.trainings) == 3
    assert not log.needs, "the original is cached"
    takes = {job.work.cell.method.name: log.gives in job.needs for job in plan.cells}
    assert takes == {"finetune": False, "takes-back": True}

    empty = replace(place, cache=place.results / "no cache")
    (plan,) = plans.make_plans(read(text), empty, executor)
    (log,) = [job for job in plan.trainings if job.work.logs_updates]
    originals = {job.gives for job in plan.trainings if job.label == "tiny: original 0"}
    assert log.needs == originals
    done = [job.label for job, _ in plans.run(plans.in_order([plan]), executor)]
    assert done.index("tiny: original 0") < done.index(log.label)
    assert done.index(log.label) < done.index("tiny: takes-back on d-6, seed 0")


def test_a_plan_knows_what_a_method_took_elsewhere(tiny, read, place):
    executor = InlineExecutor(training_seconds=600.0)
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6"]')
    scoring = 600 / (3 * tiny.task.train.epochs)

    def method_seconds(num_unknown=0):
        (plan,) = plans.make_plans(cells, place, executor)
        (job,) = plan.cells
        assert plan.num_unknown == num_unknown
        return job.estimate_seconds - plans.JOB_SECONDS - scoring

    def took(share, **changes):
        cost = Cost(
            seconds=5 * share, retrain_seconds=5, epochs_equivalent=1, retrain_epochs_equivalent=1,
            forward_samples=1, backward_samples=1, peak_memory_bytes=1,
        )  # fmt: skip
        outcome = {"status": changes.pop("status", "ok"), "cost": cost}
        other = head.model_copy(update={"seed": 7} | changes)
        record = Record.of(other, **outcome, git_revision=None, started_at="now")
        ResultsFolder(place.results).write(record, None)

    ((job,),) = [plan.cells for plan in plans.make_plans(cells, place, executor)]
    head = job.work.head
    assert method_seconds(num_unknown=1) == pytest.approx(600 * tiny.task.measure.budget)
    took(0.9, parameters={"lr": 2.0})
    took(0.9, status="error")
    assert method_seconds(num_unknown=1) == pytest.approx(600 * tiny.task.measure.budget)
    took(0.3, task="other@1")
    assert method_seconds() == pytest.approx(600 * 0.3)
    took(0.1)
    took(0.2, seed=8)
    assert method_seconds() == pytest.approx(600 * 0.15), "the task's own records count first"


def test_what_costs_least_goes_first_and_after_what_it_needs(read, place, executor):
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]')
    made = plans.make_plans(cells, place, executor)
    jobs = plans.in_order(made)
    assert [job.label for job in jobs] == [
        "tiny: finetune on b-6, seed 0",
        *sorted((f"tiny: gold {n} of d-6" for n in (1, 2)), key=[j.label for j in jobs].index),
        "tiny: finetune on d-6, seed 0",
    ]


def make_job(label, gives="", needs=(), work=None) -> Job:
    return Job(work, label, 1.0, gives or label, frozenset(needs))


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
    lost = WorkerLost("gone")
    executor = InlineExecutor({"bad gold": JobResult("error", "no"), "lost": [lost, lost]})
    outcomes = {job.label: done for job, done in plans.run(jobs, executor)}
    assert executor.order == ["gold", "bad gold", "needs gold", "free", "lost", "lost"]
    assert [label for label, done in outcomes.items() if done.status == "ok"] == [
        "gold", "needs gold", "free"
    ]  # fmt: skip
    assert outcomes["needs bad gold"].error == "a model that it needs could not be trained"
    assert outcomes["lost"].error == "gone, twice"


def test_a_job_whose_worker_was_lost_is_tried_once_more(capsys):
    train = TrainJob(None, Path("cache"), "cpu", 0, None)
    jobs = [make_job("gold", work=train), make_job("cell", needs=["gold"])]
    lost = WorkerLost("the node went")
    executor = InlineExecutor({"gold": [lost, JobResult("ok")], "cell": [lost, JobResult("ok")]})
    ended = [(job.label, done.status) for job, done in plans.run(jobs, executor)]
    assert executor.order == ["gold", "gold", "cell", "cell"]
    assert ended == [("gold", "ok"), ("cell", "ok")]
    assert capsys.readouterr().err.count("the node went; it is tried once more") == 2


def test_the_label_of_a_cell_has_the_parameters_that_vary(read, place, executor):
    cells = read(
        'tasks = ["tiny"]\ncases = ["b-6"]\n'
        'methods = ["retrain", {name = "finetune", lr = [0.01, 0.1], epochs = 2}]'
    )
    (plan,) = plans.make_plans(cells, place, executor)
    assert sorted(job.label for job in plan.cells) == [
        "tiny: finetune (lr=0.01) on b-6, seed 0",
        "tiny: finetune (lr=0.1) on b-6, seed 0",
        "tiny: retrain on b-6, seed 0",
    ]


def test_what_another_sweep_has_measured_meanwhile_is_not_measured_again(
    read, place, executor, monkeypatch
):
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6"]')
    jobs = plans.in_order(plans.make_plans(cells, place, executor))
    monkeypatch.setattr("mubench.run.sweep.jobs.MeasureJob.is_done", lambda self: True)
    ((_, done),) = filter(None, plans.run(jobs, executor))
    assert done.status == "ok"
    assert not executor.order


def test_a_place_says_on_which_device_its_workers_measure(read, place, executor):
    cells = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6"]')
    elsewhere = replace(place, machine="a far GPU", threads=3)
    ((job,),) = [plan.cells for plan in plans.make_plans(cells, elsewhere, executor)]
    assert (job.work.head.device, job.work.head.threads) == ("a far GPU", 3)
