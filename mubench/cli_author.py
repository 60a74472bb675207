"""The commands of a method's author: `new-method`, `check`, `submit`, `verify`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_shared import DEVICE, SETTINGS, TASK, build_missing, examples, load, usage_errors
from .errors import UserError
from .store import Store, say

if TYPE_CHECKING:
    from .verify import Checked


@click.command(
    "new-method",
    short_help="Writes a small package around a method that works.",
    epilog=examples("mubench new-method gentle-ascent"),
)
@click.argument("name")
@click.option("--dir", "parent", type=click.Path(file_okay=False, path_type=Path),
              default=Path(), help="Where the folder NAME is made; default: here.")  # fmt: skip
def new_method(name: str, parent: Path) -> None:
    """Writes a small package with a method that works, to be made yours."""
    from . import scaffold

    with usage_errors():
        written = scaffold.new_method(name, parent)
    for path in written:
        click.echo(path)
    folder, file = parent / name, written[1]
    say(f"next: cd {folder}, edit {file.name}, and see the commands in its README.md")


@click.command(
    short_help="Tries a method from all sides and says what to change.",
    epilog=examples("mubench check tmu", "mubench check ./mine.py:Mine"),
)
@click.argument("reference", metavar="METHOD")
def check(reference: str) -> None:
    """Tries a method on a small problem from all sides; each failure says what to change."""
    with usage_errors():
        from .checks import run_checks

        results = list(run_checks(reference))
    unreached = [result for result in results if result.status == "unreached"]
    for result in results:
        if result in unreached:
            continue
        message = f": {result.message}" if result.message else ""
        click.echo(f"{result.status:10}{result.name}{message}")
    if unreached:
        click.echo(f"{'unreached':10}{len(unreached)} more checks: {unreached[0].message}")
    failed = sum(result.status == "failed" for result in results)
    say(f"{reference}: {failed} of {len(results)} checks failed")
    if failed:
        sys.exit(1)


@click.command(
    short_help="Gathers a method's records and code as an entry.",
    epilog=examples(
        "mubench submit ./mine.py:Mine --task digits-subset",
        "mubench submit mine --task cifar10-subset --set lr=0.05 --to leaderboard/results",
    ),
)
@click.argument("reference", metavar="METHOD")
@TASK
@SETTINGS
@click.option("--results", type=click.Path(file_okay=False, path_type=Path),
              default=Path("results"), show_default=True, help="Folder of records.")  # fmt: skip
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), default=Path("submission"),
              show_default=True, help="Folder that the entry is added to.")  # fmt: skip
@click.option("--requirement", metavar="LINE",
              help="For pip: what installs the code that was measured.")  # fmt: skip
def submit(
    reference: str,
    task_name: str,
    settings: tuple[str, ...],
    results: Path,
    to: Path,
    requirement: str | None,
) -> None:
    """Gathers a method's records and code as an entry of the leaderboard, if it is complete."""
    with usage_errors():
        from .methods import parse_settings
        from .submission import submit
        from .task import load_task

        chosen = parse_settings(settings)
        written = submit(reference, chosen, load_task(task_name), results, to, requirement)
    for path in written:
        click.echo(path)
    say(f"{len(written)} files: copy what is in {to} into leaderboard/results for a pull request")


@click.command(
    short_help="Checks entries of the leaderboard.",
    epilog=examples(
        "mubench verify submission",
        "mubench verify leaderboard/results --base origin/main --rerun 2",
    ),
)
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", metavar="REVISION",
              help="Check what differs from it; nothing published may.")  # fmt: skip
@click.option("--rerun", "count", type=click.IntRange(0), default=0, metavar="N",
              help="Measure N of the records again, here.")  # fmt: skip
@DEVICE
def verify(results: Path, base: str | None, count: int, device: str) -> None:
    """Checks entries of the leaderboard: complete, of one code, numbers follow from readouts."""
    with usage_errors():
        from .review import review

        found = review(results, base)
    problems = list(found.problems)
    if count and not problems:
        problems = _rerun(results, found.checked, count, device)
    for line in problems:
        click.echo(line)
    say(f"{results}: {len(found.checked)} records hold, {len(problems)} problems")
    if problems:
        sys.exit(1)


def _rerun(results: Path, checked: "Sequence[Checked]", count: int, device: str) -> list[str]:
    from .isolate import Isolation
    from .records import record_file
    from .remeasure import choose, remeasure

    problems = []
    store = Store()
    with Isolation([results]) as isolation:
        for record in choose(results, checked, count):
            file = record_file(record)
            loaded = load(record.task, device)
            build_missing(loaded, store, [loaded.case(record.case)])
            say(f"measuring again: {file}")
            try:
                lines = remeasure(results, record, loaded, store, isolation)
            except UserError as error:
                lines = [str(error)]
            problems += [f"{file}: measured again, {line}" for line in lines]
    return problems
