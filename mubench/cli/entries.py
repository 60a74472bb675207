"""`mubench submit` and `mubench verify`: gathering and checking entries of the leaderboard."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mubench._util.errors import UserError
from mubench._util.messages import say

from .loading import build_missing, load, open_task
from .options import DEVICE, PRESET, SETTINGS, TASK, examples, usage_errors

if TYPE_CHECKING:
    from mubench.record.check import Checked
    from mubench.run.isolation.host import Isolation


@click.command(
    short_help="Gathers a method's records and code as an entry.",
    epilog=examples(
        "mubench submit ./mine.py:Mine --task digits-subset",
        "mubench submit mine --task cifar10-subset --set lr=0.05 --to leaderboard/results",
    ),
)
@click.argument("reference", metavar="METHOD")
@TASK
@PRESET
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
    preset: str,
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
        from mubench.method.presets import choose
        from mubench.task.installed import load_task

        chosen = choose(preset, parse_settings(settings))
        written = submit(reference, chosen, load_task(task_name), results, to, requirement)
    for path in written:
        click.echo(path)
    say(f"{len(written)} files: copy what is in {to} into leaderboard/results for a pull request")


@click.command(
    short_help="Checks entries of the leaderboard.",
    epilog=examples(
        "mubench verify submission",
        "mubench verify leaderboard/results --base origin/main",
        "mubench verify leaderboard/results --base HEAD^ --rerun 2 --write",
        "mubench verify leaderboard/results --base HEAD^ --rerun 2 --fresh-draw",
    ),
)
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", metavar="REVISION",
              help="Check only folders that differ from it; published files may not.")  # fmt: skip
@click.option("--rerun", "count", type=click.IntRange(0), default=0, metavar="N",
              help="Measure N of the records again, here.")  # fmt: skip
@click.option("--rerun-seed", "chosen_by", metavar="TEXT",
              help="Text that chooses the N records. Left out: the commit of RESULTS, or a random "
              "text, which is said.")  # fmt: skip
@click.option(
    "--fresh-draw",
    is_flag=True,
    help="Measure on forget sets that the same text draws, which trains their golds.",
)
@click.option("--write", is_flag=True,
              help="Leave a mark in RESULTS of each record that was measured again.")  # fmt: skip
@DEVICE
def verify(
    results: Path,
    base: str | None,
    count: int,
    chosen_by: str | None,
    fresh_draw: bool,
    write: bool,
    device: str,
) -> None:
    """Checks entries of the leaderboard.

    An entry must be complete and of one code, and its numbers must follow from its readouts.

    With --rerun, some records are measured again. The author of an entry must not know the text
    that chooses them: measure what was merged, as its commit is the text.
    """
    if not count and (chosen_by is not None or fresh_draw or write):
        raise click.UsageError("--rerun-seed, --fresh-draw and --write need --rerun N")
    if fresh_draw and write:
        raise click.UsageError("--write marks records, and --fresh-draw measures other cells")
    with usage_errors():
        from mubench.gate.entry import review

        found = review(results, base)
    complaints = list(found.complaints)
    if count and not complaints:
        complaints = _rerun(results, found.checked, count, chosen_by, device, fresh_draw, write)
    for line in complaints:
        click.echo(line)
    say(f"{results}: {len(found.checked)} records hold, {len(complaints)} complaints")
    if complaints:
        sys.exit(1)


def _rerun(
    results: Path,
    checked: "Sequence[Checked]",
    count: int,
    chosen_by: str | None,
    device: str,
    fresh_draw: bool,
    write: bool,
) -> list[str]:
    """Measures some of the records again; one line per record that does not come out the same.

    Args:
        results: the folder of results.
        checked: the records to choose from.
        count: how many to choose.
        chosen_by: the text that chooses; None: the commit of the folder, or a random text.
        device: a device's name, or `auto`.
        fresh_draw: True to measure on other forget sets.
        write: True to leave marks.
    """
    from mubench.gate.published import commit_of
    from mubench.run.isolation.host import Isolation
    from mubench.run.rerun import choose

    chosen_by = chosen_by or commit_of(results) or secrets.token_hex(16)
    chosen = choose(checked, count, chosen_by)
    say(f"{len(chosen)} of {len(checked)} records, chosen by --rerun-seed {chosen_by}")
    with Isolation([results]) as isolation:
        if fresh_draw:
            return _on_fresh_draw(results, checked, chosen, chosen_by, device, isolation)
        return _again(results, chosen, chosen_by if write else None, device, isolation)


def _again(
    results: Path,
    chosen: "Sequence[Checked]",
    marked_by: str | None,
    device: str,
    isolation: "Isolation",
) -> list[str]:
    """Measures the chosen records again; the complaints.

    Args:
        results: the folder of results.
        chosen: what to measure.
        marked_by: the text that chose, to leave marks; None: no marks are left.
        device: a device's name, or `auto`.
        isolation: where methods run.
    """
    from mubench._util.hashing import sha256_of
    from mubench.record.again import Mark, write_mark
    from mubench.record.folder import ResultsFolder, read_file
    from mubench.run.rerun import remeasure

    folder = ResultsFolder(results)
    libraries = {task: load(task, device) for task in {one.record.task for one in chosen}}
    complaints = []
    for one in chosen:
        library = libraries[one.record.task]
        case = library.loaded.case(one.record.case)
        build_missing(library, [case], [one.record.seed], one.record.requires)
        say(f"measuring again: {one.file}")
        try:
            again = remeasure(results, one.record, library, isolation)
        except UserError as error:
            complaints.append(f"{one.file}: measured again, {error}")
            continue
        complaints += [f"{one.file}: measured again, {line}" for line in again.differences]
        if marked_by:
            mark = Mark(
                record_sha256=sha256_of(read_file(folder / one.file)),
                chosen_by=marked_by,
                harness_sha256=again.record.harness_sha256,
                git_revision=again.record.git_revision,
                device=again.record.device,
                threads=again.record.threads,
                measured_at=again.record.started_at,
                differences=again.differences,
            )
            say(f"marked: {write_mark(folder, one.file, mark)}")
    return complaints


def _on_fresh_draw(
    results: Path,
    checked: "Sequence[Checked]",
    chosen: "Sequence[Checked]",
    chosen_by: str,
    device: str,
    isolation: "Isolation",
) -> list[str]:
    """Measures the methods of the chosen records on other forget sets; the complaints.

    Args:
        results: the folder of results.
        checked: all records to compare with.
        chosen: what to measure.
        chosen_by: the text that draws the forget sets.
        device: a device's name, or `auto`.
        isolation: where methods run.
    """
    with usage_errors():
        from mubench.run.fresh_draw import compare_draws, measure_on, on_fresh_draw
        from mubench.task.installed import load_task

        names = sorted({one.record.task for one in chosen})
        tasks = {name: on_fresh_draw(load_task(name), chosen_by) for name in names}
    complaints, fresh = [], []
    for task_id, task in tasks.items():
        own = [one for one in chosen if one.record.task == task_id]
        library = open_task(task, device)
        cases = {one.record.case for one in own}
        seeds = {one.record.seed for one in own}
        requires = {name for one in own for name in one.record.requires}
        chosen_cases = [case for case in library.loaded.cases if case.id in cases]
        build_missing(library, chosen_cases, seeds, requires)
        for one in own:
            say(f"measuring on a fresh draw: {one.file}")
            try:
                fresh.append(measure_on(library, results, one.record, isolation))
            except UserError as error:
                complaints.append(f"{one.file}: on a fresh draw, {error}")
    lines, worse = compare_draws(checked, fresh)
    for line in lines:
        say(line)
    return complaints + worse
