"""`mubench submit` and `mubench verify`: gathering and checking entries of the leaderboard."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mubench._util.errors import UserError
from mubench._util.messages import say

from .loading import build_missing, load
from .options import DEVICE, SETTINGS, TASK, examples, usage_errors

if TYPE_CHECKING:
    from mubench.record.check import Checked


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
              help="What installs the code that was measured, in pip's words.")  # fmt: skip
def submit(
    reference: str,
    task_name: str,
    settings: tuple[str, ...],
    results: Path,
    to: Path,
    requirement: str | None,
) -> None:
    """Gathers a method's records and code as an entry of the leaderboard.

    An entry that is not fit to be published is refused, with every reason.
    """
    with usage_errors():
        from mubench.gate.submit import submit
        from mubench.method.parameters import parse_settings
        from mubench.task.spec import load_task

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
              help="Check only folders that differ from it; published files may not.")  # fmt: skip
@click.option("--rerun", "count", type=click.IntRange(0), default=0, metavar="N",
              help="Measure N of the records again, here.")  # fmt: skip
@DEVICE
def verify(results: Path, base: str | None, count: int, device: str) -> None:
    """Checks entries of the leaderboard.

    An entry must be complete and of one code, and its numbers must follow from its readouts.
    """
    with usage_errors():
        from mubench.gate.entry import review

        found = review(results, base)
    complaints = list(found.complaints)
    if count and not complaints:
        complaints = _rerun(results, found.checked, count, device)
    for line in complaints:
        click.echo(line)
    say(f"{results}: {len(found.checked)} records hold, {len(complaints)} complaints")
    if complaints:
        sys.exit(1)


def _rerun(results: Path, checked: "Sequence[Checked]", count: int, device: str) -> list[str]:
    """Measures some of the records again; one line per record that does not come out the same."""
    from mubench.record.folder import ResultsFolder
    from mubench.run.isolation.host import Isolation
    from mubench.run.rerun import choose, remeasure

    complaints = []
    with Isolation([results]) as isolation:
        for record in choose(results, checked, count):
            file = ResultsFolder.file(record)
            library = load(record.task, device)
            build_missing(library, [library.loaded.case(record.case)], [record.seed])
            say(f"measuring again: {file}")
            try:
                lines = remeasure(results, record, library, isolation)
            except UserError as error:
                lines = [str(error)]
            complaints += [f"{file}: measured again, {line}" for line in lines]
    return complaints
