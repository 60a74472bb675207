"""`mubench sweep`: a grid of methods, tasks, cases and seeds."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mubench._util.cache import Store
from mubench._util.messages import counted, duration, say

from .options import DEVICE, OUT, examples, usage_errors

if TYPE_CHECKING:
    from mubench._util.workers import Executor
    from mubench.run.sweep.jobs import Job, JobResult, Place
    from mubench.run.sweep.plan import Plan


def _parse_shard(_: object, __: object, text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise click.BadParameter(
            f"{text!r} is not a part such as 3/16; the parts of 16 are 1/16 to 16/16"
        )
    return int(number), int(count)


POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(
    short_help="Measures a grid of methods, tasks, cases and seeds.",
    epilog=examples(
        "mubench sweep grid.toml --dry-run",
        "mubench sweep grid.toml",
        "mubench sweep grid.toml --shard $SLURM_ARRAY_TASK_ID/16    # of an array 1-16",
        "mubench sweep grid.toml --engine ray --address auto --gpus-per-cell 0.5",
    ),
)
@click.argument("grid", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be done, and how long, and stop.")
@click.option(
    "--shard",
    callback=_parse_shard,
    metavar="I/N",
    help="The I-th of N parts only, from 1/N to N/N.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Most jobs at once. Left out: one per core that may be used, or one on a GPU.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Who runs the jobs: processes of this machine, or a Ray cluster.",
)  # fmt: skip
@click.option("--address", help="Of a Ray cluster: auto or HOST:PORT. Left out: one of its own.")
@click.option(
    "--cpus-per-cell", type=POSITIVE, metavar="X", help="CPUs that Ray reserves for a job [1]."
)
@click.option(
    "--gpus-per-cell", type=click.FloatRange(min=0), metavar="X",
    help="GPUs that Ray reserves for a job, such as 0.5 [1 if the cluster has GPUs].",
)  # fmt: skip
@DEVICE
@OUT
def sweep(
    grid: Path,
    dry_run: bool,
    shard: tuple[int, int],
    workers: int | None,
    engine: str,
    address: str | None,
    cpus_per_cell: float | None,
    gpus_per_cell: float | None,
    device: str,
    out: Path,
) -> None:
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
    of_ray = {
        "address": address, "cpus_per_cell": cpus_per_cell, "gpus_per_cell": gpus_per_cell
    }  # fmt: skip
    given = {name: value for name, value in of_ray.items() if value is not None}
    if given and engine != "ray":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{names}: for --engine ray only")
    with usage_errors():
        from mubench._util.toml import read_text
        from mubench._util.workers import WorkerLost
        from mubench.gold.loaded import LoadedTask
        from mubench.run.isolation.host import Isolation
        from mubench.run.machine import pick_device
        from mubench.run.sweep import plan as sweeps
        from mubench.run.sweep.grid import read_grid
        from mubench.run.sweep.summary import summary
        from mubench.task.installed import load_task

        # A driver of Ray only plans, so it needs no GPU.
        planned_on = pick_device(device if engine == "local" else "cpu")
        text = read_text(grid, str(grid))
        with Isolation([out]) as isolation:
            cells = read_grid(
                text,
                str(grid),
                lambda name: LoadedTask(load_task(name), planned_on),
                isolation.describe,
            )
        cells = sweeps.shard(cells, *shard)
        cache, results = Store().root, out.absolute()
        if engine == "ray":
            executor, place = _on_ray(cache, results, device, workers, given)
        else:
            executor, place = _on_this_machine(cache, results, str(planned_on), workers, len(cells))
    with closing(executor):
        try:
            plans = sweeps.make_plans(cells, place, executor)
        except WorkerLost as lost:
            raise click.ClickException(f"timing training steps broke off: {lost}") from None
        click.echo(_table(plans, executor.num_workers), err=not dry_run)
        if dry_run:
            return
        jobs = sweeps.in_order(plans)
        failures = _run(jobs, executor) if jobs else []
    click.echo(summary(cells, place))
    say(f"{len(jobs) - len(failures)} of {len(jobs)} jobs done; records: {out}")
    if failures:
        click.echo("\n".join(failures))
        sys.exit(1)


def _on_this_machine(
    cache: Path | str, results: Path, device: str, workers: int | None, num_cells: int
) -> "tuple[Executor, Place]":
    from mubench._util.workers import LocalExecutor, WorkerPolicy
    from mubench.run.sweep.jobs import Place

    policy = WorkerPolicy.for_device(device.partition(":")[0])
    num_workers = workers or policy.num_workers(num_cells)
    place = Place(
        cache,
        results,
        device,
        num_workers,
        threads=policy.threads,
        exclusive_device=num_workers <= policy.most_workers,
    )
    return LocalExecutor(num_workers, threads=policy.threads), place


def _on_ray(
    cache: Path | str, results: Path, device: str, workers: int | None, given: dict[str, Any]
) -> "tuple[Executor, Place]":
    from importlib.util import find_spec

    from mubench._util.errors import UserError

    if find_spec("ray") is None:
        raise UserError("--engine ray needs Ray: pip install 'mubench[ray]'")
    from mubench.run.sweep.ray_engine import connect

    return connect(cache, results, device=device, workers=workers, **given)


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
    lines = [table, f"about {duration(seconds)} with {num_workers} at once"]
    if num_unknown := sum(plan.num_unknown for plan in plans):
        cells = counted(num_unknown, "cell")
        lines.append(f"{cells} without a record to go by: taken at the whole budget, mostly less")
    return "\n".join(lines)


def _run(jobs: "Sequence[Job]", executor: "Executor") -> list[str]:
    """Has the jobs run; returns one line per job that failed."""
    from tqdm import tqdm

    from mubench.run.sweep import plan as sweeps
    from mubench.run.sweep.progress import Progress

    failures: list[str] = []
    progress = Progress(jobs)
    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    with tqdm(total=1.0, bar_format=form, disable=None, dynamic_ncols=True) as bar:
        for event in sweeps.run(jobs, executor):
            if event:
                job, done = event
                progress.ended(job, done.seconds)
                line = f"{job.label}: {_outcome(done)}"
                if done.status != "ok":
                    failures.append(line)
                if bar.disable or done.measured or done.status != "ok":
                    bar.clear()
                    say(f"[{progress.num_ended}/{len(jobs)}] {line}")
            bar.n = progress.share(executor.num_workers)
            left = duration(progress.seconds_left(executor.num_workers))
            bar.set_description(f"{progress.num_ended} of {len(jobs)} jobs", refresh=False)
            bar.set_postfix_str(f"about {left} to go", refresh=False)
            bar.refresh()
    return failures


def _outcome(done: "JobResult") -> str:
    """How a job ended, in a line: of a cell, what was found."""
    if done.status != "ok":
        return f"{done.status}: {done.error}"
    if not done.measured:
        return f"{done.seconds:.1f} s"
    from mubench.record.measures import MEASURES, stated_values

    record = done.measured.record
    values = stated_values(record.metrics, record.cost)
    delta, accuracy, seconds = (
        MEASURES[name].text(values[name]) for name in ("delta", "test_accuracy", "seconds")
    )
    return (
        f"δ {delta}, test accuracy {accuracy}%, unlearned in {seconds} s "
        f"({done.seconds:.1f} s in all)"
    )
