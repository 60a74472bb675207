"""`mubench sweep`: a grid of methods, tasks, cases and seeds."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mubench._util.cache import Store
from mubench._util.messages import duration, say

from .options import DEVICE, OUT, examples, usage_errors

if TYPE_CHECKING:
    from mubench.run.sweep.jobs import Job, JobResult, Place
    from mubench.run.sweep.plan import Plan


def _parse_shard(_: object, __: object, text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise click.BadParameter(f"{text!r} is not a part such as 3/16")
    return int(number), int(count)


@click.command(
    short_help="Measures a grid of methods, tasks, cases and seeds.",
    epilog=examples(
        "mubench sweep grid.toml --dry-run",
        "mubench sweep grid.toml",
        "mubench sweep grid.toml --shard $SLURM_ARRAY_TASK_ID/16",
    ),
)
@click.argument("grid", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be done, and how long, and stop.")
@click.option("--shard", callback=_parse_shard, metavar="I/N", help="The I-th of N parts only.")
@DEVICE
@OUT
def sweep(grid: Path, dry_run: bool, shard: tuple[int, int], device: str, out: Path) -> None:
    """Measures every method of a TOML file on every case with every seed.

    Trains what is not cached, and goes on when a cell fails. Each method runs in a process of its
    own with a limit on time and memory. The same command continues a sweep that was killed, runs
    what was added to the file, and tries again what failed.

    \b
    tasks = ["cifar10-subset"]
    methods = ["retrain", {name = "tmu", twin_lr = [0.01, 0.1]}]
    cases = ["cat-100", "dog-100"]   # left out: all
    seeds = [0, 1]                   # left out: 0
    """  # noqa: D301 - click's mark for lines that stay as they are
    with usage_errors():
        from mubench._util.toml import read_text
        from mubench._util.workers import WorkerPolicy
        from mubench.gold.loaded import LoadedTask
        from mubench.run.isolation.host import Isolation
        from mubench.run.machine import pick_device
        from mubench.run.sweep import plan as sweeps
        from mubench.run.sweep.grid import read_grid
        from mubench.run.sweep.jobs import Place
        from mubench.task.installed import load_task

        place_on = pick_device(device)
        cache = Store().root
        text = read_text(grid, str(grid))
        with Isolation([out]) as isolation:
            cells = read_grid(
                text,
                str(grid),
                lambda name: LoadedTask(load_task(name), place_on),
                isolation.describe,
            )
    cells = sweeps.shard(cells, *shard)
    workers = WorkerPolicy.for_device(place_on.type).num_workers(len(cells))
    place = Place(cache, out.absolute(), str(place_on), workers)
    plans = sweeps.make_plans(cells, place)
    click.echo(_table(plans, workers), err=not dry_run)
    jobs = sweeps.in_order(plans)
    if dry_run or not jobs:
        return
    failures = _run(jobs, place)
    say(f"{len(jobs) - len(failures)} of {len(jobs)} jobs done; records: {out}")
    if failures:
        click.echo("\n".join(failures))
        sys.exit(1)


def _table(plans: "Sequence[Plan]", num_workers: int) -> str:
    from mubench._util.tables import plain

    rows = [
        [plan.loaded.task.id, plan.num_models, len(plan.trainings), plan.num_kept,
         len(plan.cells), duration(plan.estimate_seconds / num_workers)]
        for plan in plans
    ]  # fmt: skip
    headers = ["task", "models", "to train", "cells measured", "to measure", "time"]
    table = plain(rows, headers, "lrrrrr")
    seconds = sum(plan.estimate_seconds for plan in plans) / num_workers
    return f"{table}\nabout {duration(seconds)} with {num_workers} at once"


def _run(jobs: "Sequence[Job]", place: "Place") -> list[str]:
    """Has the jobs run; returns one line per job that failed."""
    from tqdm import tqdm

    from mubench._util.workers import LocalExecutor, WorkerPolicy
    from mubench.run.sweep import plan as sweeps

    threads = WorkerPolicy.for_device(place.device.partition(":")[0]).threads
    executor = LocalExecutor(place.num_workers, threads=threads)
    failures: list[str] = []
    num_done = 0
    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}, {remaining} to go{postfix}"
    total = sum(job.estimate_seconds for job in jobs)
    with tqdm(total=total, bar_format=form, disable=None, dynamic_ncols=True) as bar:
        bar.set_description(f"0 of {len(jobs)} jobs")
        try:
            for event in sweeps.run(jobs, executor):
                if event is None:
                    bar.refresh()
                    continue
                job, done = event
                num_done += 1
                line = f"{job.label}: {_outcome(done)}"
                if done.status != "ok":
                    failures.append(line)
                if bar.disable or done.status != "ok":
                    bar.clear()
                    say(f"[{num_done}/{len(jobs)}] {line}")
                bar.set_description(f"{num_done} of {len(jobs)} jobs", refresh=False)
                bar.update(job.estimate_seconds)
        finally:
            executor.close()
    return failures


def _outcome(done: "JobResult") -> str:
    return f"{done.seconds:.1f} s" if done.status == "ok" else f"{done.status}: {done.error}"
