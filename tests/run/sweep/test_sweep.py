"""Sweeps: reading a grid, planning, running, and going on after a kill."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mubench._util.errors import UserError
from mubench._util.workers import LocalExecutor, WorkerLost, report
from mubench.cli.main import main
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import read_record, write_record
from mubench.record.schema import Cost
from mubench.run.cell import Cell, measure
from mubench.run.isolation.host import Described
from mubench.run.sweep import plan as plans
from mubench.run.sweep.grid import read_grid
from mubench.run.sweep.jobs import Done, Job, Place, Training
from tests.helpers.methods import bad
from tests.helpers.processes import tokened
from tests.helpers.tiny import TINY

# ---- the file -----------------------------------------------------------------------------------


def described(name, settings=({},), **changes):
    known = {"lr": 0.1, "epochs": 1}
    mistakes = [f"{name} has no parameter {key!r}" for s in settings for key in s.keys() - known]
    if name not in ("finetune", "tmu", "retrain"):
        mistakes = [f"unknown method {name!r}"]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return [
        Described(name, s, name, "x", "1", "0" * 64, frozenset(), False, {**known, **s})
        for s in settings
    ]


@pytest.fixture
def read(tiny):
    def load(name):
        if name != "tiny":
            raise UserError(f"unknown task {name!r}")
        return tiny

    return lambda text: read_grid(text, "grid.toml", load, described)


def cells(points):
    return [(p.case.id, p.method.name, p.method.settings, p.seed) for p in points]


def test_a_grid_is_the_product_of_what_it_names(read):
    points = read(
        """
        tasks = ["tiny"]
        methods = ["retrain", {name = "tmu", lr = [0.01, 0.1], epochs = 2}]
        cases = ["d-6", "b-12"]
        seeds = [1, 0]
        """
    )
    low, high = {"lr": 0.01, "epochs": 2}, {"lr": 0.1, "epochs": 2}
    for_each_case = [
        (name, settings, seed)
        for name, settings in (("retrain", {}), ("tmu", low), ("tmu", high))
        for seed in (0, 1)
    ]
    assert sorted(cells(points), key=str) == sorted(
        [(case, *rest) for case in ("b-12", "d-6") for rest in for_each_case], key=str
    )
    assert [p.case.id for p in points] == ["b-12"] * 6 + ["d-6"] * 6


def test_all_cases_and_seed_0_unless_the_file_says_otherwise(read):
    text = 'tasks = ["tiny"]\nmethods = ["tmu"]\n'
    points = read(text)
    assert [(p.case.id, p.seed) for p in points] == [
        ("b-12", 0), ("b-6", 0), ("d-12", 0), ("d-6", 0)
    ]  # fmt: skip
    assert cells(read(text + 'cases = "all"')) == cells(points)


def test_a_parameter_that_is_a_list(read):
    points = read(
        'tasks = ["tiny"]\ncases = ["b-6"]\nmethods = [{name = "tmu", lr = [[1, 2], [3]]}]'
    )
    assert sorted(p.method.settings["lr"] for p in points) == [[1, 2], [3]]


def test_every_mistake_is_reported_at_once(read):
    with pytest.raises(ValueError) as caught:
        read(
            """
            task = ["tiny"]
            tasks = ["tiny", "tony", "tiny"]
            methods = ["tmu", {name = "tmu", lrr = 1}, {lr = 1}, "finetune"]
            cases = ["b-6", "b-7", "b-6"]
            seeds = [0, -1]
            """
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "grid.toml has 8 mistakes:"
    expected = [
        "methods.1: tmu has no parameter 'lrr'",
        'methods.2: write "tmu", or {name = "tmu", parameter = value}',
        "seeds.1: Input should be greater than or equal to 0",
        "task: unknown key; did you mean 'tasks'?",
        "tasks.1: unknown task 'tony'",
        "tasks: tiny@1 twice",
        "cases.1: task tiny has no case 'b-7'; did you mean 'b-6'?",
        "cases: b-6 twice",
    ]
    for line in expected:
        assert any(found.strip().startswith(line) for found in lines), line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks = [", "is not TOML"),
        ("", "tasks: name at least one"),
        ('tasks = ["tiny"]', "methods: name at least one"),
        ('tasks = ["tiny"]\nmethods = ["tmu", {name = "tmu", lr = 0.1}]', "twice"),
        ('tasks = ["tiny"]\nmethods = [{name = "tmu", lrr = [1, 2]}]', "methods.0: tmu has no"),
        ('tasks = ["tiny"]\nmethods = [{name = "tmu", lr = []}]', "methods.0: lr has no value"),
        ('tasks = ["tiny"]\nmethods = ["nothing"]', "methods.0: unknown method"),
        ('tasks = ["tiny"]\nmethods = ["tmu"]\nseeds = [0, 0]', "seeds: 0 twice"),
        ('tasks = ["tiny"]\nmethods = ["tmu"]\ncases = "some"', "cases: "),
    ],
)
def test_a_mistake_says_where_it_is(read, text, expected):
    with pytest.raises(ValueError, match=r"grid\.toml") as caught:
        read(text)
    assert expected in str(caught.value)


def test_shards_are_disjoint_and_make_up_the_grid():
    points = list(range(23))
    parts = [plans.shard(points, number, 5) for number in range(1, 6)]
    assert [point for part in parts for point in part] == points
    assert {len(part) for part in parts} == {4, 5}
    assert plans.shard(points, 1, 1) == points
    assert plans.shard(points[:2], 2, 16) == []


# ---- the plan -----------------------------------------------------------------------------------


@pytest.fixture
def place(tiny_store, tmp_path) -> Place:
    return Place(tiny_store.root, tmp_path / "results", "cpu", 2)


def test_a_plan_knows_what_is_cached_and_what_was_measured(tiny, tiny_store, read, place):
    """Of `tiny` the models of the first case are there."""
    text = 'tasks = ["tiny"]\nmethods = ["finetune"]\nseeds = [0, 1]\ncases = ["b-6", "d-6"]'
    points = read(text)
    (plan,) = plans.make_plans(points, place)
    assert (plan.num_models, len(plan.trainings), plan.num_kept, len(plan.cells)) == (5, 2, 0, 4)
    by_case = {job.work.cell.case.id: job for job in plan.cells}
    assert not by_case["b-6"].needs
    assert by_case["d-6"].needs == {job.gives for job in plan.trainings}
    assert plan.estimate_seconds > 4 * plans.CELL_SECONDS

    job = by_case["b-6"]
    assert job.work.blank.threads == 1
    assert job.work.blank.isolated
    Path(job.gives).parent.mkdir(parents=True)
    Path(job.gives).write_text("no record")
    assert len(plans.make_plans(points, place)[0].cells) == 4


def test_a_plan_knows_what_a_method_took_elsewhere(tiny, read, place, monkeypatch):
    monkeypatch.setattr(plans, "estimate_seconds", lambda loaded, count: 600.0)  # a training
    points = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6"]')
    scoring = 600 / (3 * tiny.task.train.epochs)

    def method_seconds():
        ((job,),) = [plan.cells for plan in plans.make_plans(points, place)]
        return job.estimate_seconds - plans.CELL_SECONDS - scoring

    def took(share, **changes):
        cost = Cost(
            seconds=5 * share, retrain_seconds=5, epochs_equivalent=1, retrain_epochs_equivalent=1,
            forward_samples=1, backward_samples=1, peak_memory_bytes=1,
        )  # fmt: skip
        record = blank.model_copy(update={"status": "ok", "cost": cost, "seed": 7} | changes)
        write_record(place.results, record, None)

    ((job,),) = [plan.cells for plan in plans.make_plans(points, place)]
    blank = job.work.blank
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
    points = read('tasks = ["tiny"]\nmethods = ["finetune"]\ncases = ["b-6", "d-6"]')
    made = plans.make_plans(points, place)
    jobs = plans.in_order(made)
    assert [job.label for job in jobs] == [
        "tiny: finetune on b-6, seed 0",
        *sorted((f"tiny: gold {n} of d-6" for n in (1, 2)), key=[j.label for j in jobs].index),
        "tiny: finetune on d-6, seed 0",
    ]


# ---- running ------------------------------------------------------------------------------------


def make_job(label, gives="", needs=(), work=None) -> Job:
    place = Place(Path("cache"), Path("results"), "cpu", 2)
    return Job(place, None, work, label, 1.0, gives or label, frozenset(needs))


class InlineExecutor:
    """Runs a job when it is submitted, and keeps the order."""

    num_workers = 2

    def __init__(self, results=None):
        self.order = []
        self.results = results or {}

    def submit(self, job):
        self.order.append(job.label)
        future = Future()
        result = self.results.get(job.label, Done("ok"))
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        return future

    def close(self):
        pass


def test_jobs_wait_for_what_they_need_and_a_failure_stops_only_those():
    train = Training(0, None)
    jobs = [
        make_job("gold", work=train),
        make_job("bad gold", work=train),
        make_job("needs gold", needs=["gold"]),
        make_job("needs bad gold", needs=["gold", "bad gold"]),
        make_job("free"),
        make_job("lost"),
    ]
    executor = InlineExecutor({"bad gold": Done("error", "no"), "lost": WorkerLost("gone")})
    outcomes = {job.label: done for job, done in plans.run(jobs, executor)}
    assert executor.order == ["gold", "bad gold", "needs gold", "free", "lost"]
    assert [label for label, done in outcomes.items() if done.status == "ok"] == [
        "gold", "needs gold", "free"
    ]  # fmt: skip
    assert outcomes["needs bad gold"].error == "a model that it needs could not be trained"
    assert outcomes["lost"].error == "gone"


def square(number: int) -> int:
    return number * number


@dataclass(frozen=True)
class Square:
    number: int

    def __call__(self) -> int:
        return square(self.number)


@dataclass(frozen=True)
class Die:
    def __call__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Threads:
    def __call__(self) -> tuple[int, str | None]:
        return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")


def test_a_lost_worker_costs_its_own_job_alone():
    executor = LocalExecutor(2, one_thread=True)
    try:
        futures = [executor.submit(job) for job in (Square(3), Die(), Square(4), Square(5))]
        assert [futures[i].result(500) for i in (0, 2, 3)] == [9, 16, 25]
        with pytest.raises(WorkerLost, match="exit code -9"):
            futures[1].result(500)
        assert executor.submit(Threads()).result(500) == (1, "1")
    finally:
        executor.close()


@dataclass(frozen=True)
class Fail:
    def __call__(self) -> None:
        report("halfway")
        raise OSError("disk full")


def test_a_job_reports_and_what_it_raises_is_its_futures():
    before = set(threading.enumerate())
    executor = LocalExecutor(1, one_thread=True)
    reports = []
    try:
        pid = executor.submit(os.getpid).result(500)
        with pytest.raises(OSError, match="disk full"):
            executor.submit(Fail(), reports.append).result(500)
        assert reports == ["halfway"]
        assert executor.submit(os.getpid).result(500) == pid, "the worker survives it"
    finally:
        executor.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), "a closed executor leaves no thread behind"


# ---- the command --------------------------------------------------------------------------------

GRID = """
tasks = ["tiny.toml"]
methods = ["original", {name = "finetune", lr = [0.01, 0.1]}]
cases = ["b-6", "d-6"]
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder with a task and a grid."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def start(folder: Path, cache: Path, *options: str, token: str = "") -> subprocess.Popen:
    environment = os.environ | {"MUBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    if token:
        environment[token] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "mubench", "sweep", "grid.toml", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[str, str]:
    with process:
        out, err = process.communicate(timeout=1200)
    return out, err


def measured(results: Path) -> dict[str, object]:
    """What a sweep left, but for times, memory and dates."""
    left: dict[str, object] = {}
    for path in sorted(results.rglob("[!.]*")):
        if path.suffix == ".json":
            record = read_record(path)
            cost = record.cost.model_dump(include={"forward_samples", "backward_samples"})
            content = record.model_dump(exclude={"cost", "started_at", "git_revision"})
            left[str(path.relative_to(results))] = content | {"cost": cost}
        elif path.is_file():
            left[str(path.relative_to(results))] = path.read_bytes()
    return left


def started_at(results: Path) -> dict[str, str]:
    return {
        str(path): json.loads(path.read_text())["started_at"] + str(path.stat().st_mtime_ns)
        for path in results.rglob("*.json")
    }


def kill_and_go_on(folder, cache, moments) -> None:
    """Kills a sweep at each moment, in seconds after its start, then lets it end."""
    token = f"SWEEP_OF_TEST_{os.getpid()}_{folder.name}"
    for moment in moments:
        process = start(folder, cache, token=token)
        with process:
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        assert no_process_of(token)
    process = start(folder, cache, token=token)
    out, err = finish(process)
    assert process.returncode == 0, out + err
    assert no_process_of(token)


def no_process_of(token: str) -> bool:
    for _ in range(200):
        if not tokened(token):
            return True
        time.sleep(0.1)
    return False


@dataclass(frozen=True)
class Swept:
    """A sweep that was killed when its first record was there, and started again."""

    folder: Path
    kept: dict[str, str]  # records that were there when it was killed
    all: dict[str, str]
    ends: bool  # whether all its processes were gone soon after it was killed


swept_group = pytest.mark.xdist_group("swept")  # one worker: they share one preparation


@pytest.fixture(scope="module")
def swept(tiny, tiny_store, tmp_path_factory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "grid.toml").write_text(GRID)
    results, token = folder / "results", f"TOKEN_OF_SWEEP_{os.getpid()}"
    with start(folder, tiny_store.root, token=token) as process:
        while not list(results.rglob("*.json")) and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    ends = no_process_of(token)
    kept = started_at(results)
    kill_and_go_on(folder, tiny_store.root, [])
    return Swept(folder, kept, started_at(results), ends)


@pytest.mark.slow
@swept_group
def test_a_sweep_leaves_a_record_of_each_cell(swept):
    records = [read_record(Path(path)) for path in swept.all]
    methods = (("finetune", 0.01), ("finetune", 0.1), ("original", None))
    found = {(r.case, r.method, r.parameters.get("lr")) for r in records}
    assert found == {(case, *method) for case in ("b-6", "d-6") for method in methods}
    assert len(records) == 6
    assert all(r.status == "ok" and r.isolated and r.threads == 1 for r in records)


@pytest.mark.slow
@swept_group
def test_a_killed_sweep_goes_on_where_it_was(swept):
    assert swept.ends
    assert swept.kept
    assert swept.kept.items() <= swept.all.items()


@pytest.mark.slow
@swept_group
def test_numbers_are_those_of_a_plain_run(swept, tiny, tiny_store, tmp_path):
    (path,) = [p for p in swept.all if (r := read_record(Path(p))).case == "b-6"
               and r.parameters.get("lr") == 0.1]  # fmt: skip
    method = load_method("finetune")
    cell = Cell(tiny.case("b-6"), method, configure(method, {"lr": 0.1}), 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = measure(tiny, tiny_store, cell, tmp_path).record
    finally:
        torch.set_num_threads(threads)
    assert read_record(Path(path)).readout_sha256 == here.readout_sha256


@pytest.mark.slow
@swept_group
def test_a_method_added_later_runs_alone_and_its_failure_is_the_exit_code(swept, tiny_store):
    reference = bad("raises_in_unlearn")
    grid = swept.folder / "grid.toml"
    grid.write_text(GRID.replace('["original"', f'["original", "{reference}"'))
    process = start(swept.folder, tiny_store.root)
    out, err = finish(process)
    assert process.returncode == 1, err
    after = started_at(swept.folder / "results")
    assert swept.all.items() <= after.items()
    new = [Path(path) for path in after.keys() - swept.all.keys()]
    assert len(new) == 2
    for path in new:
        assert read_record(path).error == "RuntimeError: out of ideas"
        assert "Traceback" in path.with_suffix(".traceback.txt").read_text()
    assert out.count("error: RuntimeError: out of ideas") == 2


def test_a_dry_run_does_nothing(folder, tiny_store, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    (folder / "grid.toml").write_text(GRID + "seeds = [0, 1]")
    result = CliRunner().invoke(main, ["sweep", "grid.toml", "--dry-run", "--shard", "2/3"])
    assert result.exit_code == 0, result.output
    header, _, row, total = result.stdout.splitlines()
    assert " ".join(header.split()) == "task models to train cells measured to measure time"
    assert row.split()[:5] == ["tiny@1", "5", row.split()[2], "0", "4"]
    assert total.startswith("about ")
    assert not list((folder / "results").rglob("*.json"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_shard_that_is_none(folder, shard):
    result = CliRunner().invoke(main, ["sweep", str(folder / "grid.toml"), "--shard", shard])
    assert result.exit_code == 2
    assert "is not a part such as 3/16" in result.stderr


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@on_linux
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_sweep_killed_at_ten_random_moments_ends_with_the_same_records(tmp_path):
    """24 cells on digits, from an empty cache, so that trainings are killed too."""
    grid = """
tasks = ["digits-subset"]
methods = ["finetune", "neggrad", {name = "random-label", epochs = [1, 2]}]
cases = ["8-40", "0-40"]
seeds = [0, 1, 2]
"""
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
        (folder / "grid.toml").write_text(grid)
    undisturbed, killed = folders
    began = time.monotonic()
    kill_and_go_on(undisturbed, tmp_path / "cache-undisturbed", [])
    took = time.monotonic() - began
    seed = random.randrange(10**6)
    print(f"seed {seed}, undisturbed {took:.0f} s")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    kill_and_go_on(
        killed, tmp_path / "cache-killed", [draw.uniform(0.05, 0.6) * took for _ in range(10)]
    )
    expected, found = (measured(folder / "results") for folder in folders)
    assert len([name for name in expected if name.endswith(".json")]) == 24
    assert found == expected

    before = started_at(killed / "results")
    (killed / "grid.toml").write_text(grid.replace('["finetune"', '["original", "finetune"'))
    kill_and_go_on(killed, tmp_path / "cache-killed", [])
    after = started_at(killed / "results")
    assert before.items() <= after.items()
    assert len(after) == 24 + 6
