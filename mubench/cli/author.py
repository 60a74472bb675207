"""The commands of a method's author: `new-method` and `check`."""

import sys
from pathlib import Path

import click

from mubench._util.messages import say

from .options import PRESET, examples, usage_errors


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
    from mubench.method import scaffold

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
@PRESET
def check(reference: str, preset: str) -> None:
    """Tries a method on a small problem from all sides; each failure says what to change."""
    with usage_errors():
        from mubench.method.checks.checks import run_checks
        from mubench.method.presets import choose

        results = list(run_checks(reference, choice=choose(preset, {})))
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
