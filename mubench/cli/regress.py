"""`mubench regress`: new records against a baseline."""

import sys
from pathlib import Path

import click

from .leaderboard import FOLDER, read_folder, tasks_option
from .options import examples, usage_errors


@click.command(short_help="Exits 1 if new records are worse or costlier.", epilog=examples(
    "mubench regress leaderboard/results results",
    "mubench regress baseline --same-job --format markdown > comment.md",
))  # fmt: skip
@click.argument("baseline", type=FOLDER)
@click.argument("new", type=FOLDER, default=Path("results"))
@click.option("--same-job", is_flag=True,
              help="Both ran in one job on one device: compare seconds too.")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["table", "markdown", "json"]),
              default="table", show_default=True,
              help="markdown: for a comment on a pull request.")  # fmt: skip
@tasks_option
def regress(
    baseline: Path, new: Path, same_job: bool, output: str, task_files: tuple[str, ...]
) -> None:
    """Exits 1 if the records in NEW are worse or costlier than those in BASELINE.

    NEW is `results` unless given. Records are paired by task, case, method, parameters and seed. If
    the seeds differ, means over seeds are paired. The rule stands below the table. A record in
    either folder that does not hold is named, and also makes the exit code 1.
    """
    stored, _ = read_folder(baseline, task_files)
    fresh, _ = read_folder(new, task_files)
    from mubench.gate import regress_report
    from mubench.gate.regress import compare

    with usage_errors():
        comparison = compare(baseline, stored, new, fresh, same_job=same_job)
    rejected = [
        f"{folder / one.file}: {one.reason}"
        for folder, read in ((baseline, stored), (new, fresh))
        for one in read.rejected
    ]
    show = {
        "table": regress_report.as_table,
        "markdown": regress_report.as_markdown,
        "json": regress_report.as_json,
    }[output]
    click.echo(show(comparison, rejected))
    if comparison.regressions or rejected:
        sys.exit(1)
