"""The group of all commands. Data goes to stdout, everything else to stderr.

Exit codes: 0 done; 1 a run failed or a check did not hold; 2 wrong usage; 130 interrupted.
Commands import what they need when they run, so that help is instant.
"""

import errno
import os
from typing import Any

import click

from .author import check, new_method
from .entries import submit, verify
from .golds import gold
from .leaderboard import leaderboard, plot
from .options import examples, usage_errors
from .regress import regress
from .run import run
from .sweep import sweep

HINTS = {
    errno.EACCES: "check its permissions, or name another place",
    errno.EPERM: "check its permissions, or name another place",
    errno.EROFS: "the file system is read-only: name another place",
    errno.ENOSPC: "the disk is full: free space, or name another place",
    errno.EDQUOT: "the disk quota is used up: free space, or name another place",
    errno.EFBIG: "files of this size are not allowed here: name another place",
    errno.ENOTDIR: "a file stands where a folder should be: move it, or name another place",
    errno.EEXIST: "a file stands where a folder should be: move it, or name another place",
    errno.EISDIR: "a folder stands where a file should be: move it, or name another place",
    errno.ENOENT: "it is not there: check the path",
    errno.ELOOP: "its links lead in a circle: mend them",
}
"""What to do when the operating system says no, by its number for the reason."""


class Refused(click.ClickException):
    """The operating system said no."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands end in one clear line when the operating system says no."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; what the operating system refuses ends with code 2."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in HINTS or (error.filename is None and error.errno != errno.ENOSPC):
                raise  # a pipe that is closed, or a bug
            place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            raise Refused(f"{place}{error.strerror}; {HINTS[error.errno]}") from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "mubench run --method tmu --task digits-subset",
        "mubench run --method tmu --task cifar10-subset --cases all",
        "mubench list tasks",
    ),
)
@click.version_option(package_name="mubench")
def main() -> None:
    """Measures machine unlearning of image classifiers against retrained models.

    The variables MUBENCH_DATA (where data sets are) and MUBENCH_CACHE (where trained models go)
    name folders; MUBENCH_CACHE may be a URL, such as s3://bucket/golds.
    """


for command in (run, sweep, gold, leaderboard, plot, regress, check, new_method, submit, verify):
    main.add_command(command)


@main.command("list", epilog=examples("mubench list methods", "mubench list tasks"))
@click.argument("what", type=click.Choice(["methods", "tasks"]))
def list_(what: str) -> None:
    """Names what is installed; imports no method."""
    from mubench._util.tables import plain

    if what == "tasks":
        from mubench.task.spec import installed_tasks

        with usage_errors():
            tasks = installed_tasks()
        rows: list[list[Any]] = [
            [t.id, t.data.name, t.model.name, t.num_cases, t.measure.golds, t.train.epochs]
            for t in tasks
        ]
        headers = ["task", "data", "model", "cases", "golds per case", "epochs per model"]
    else:
        from importlib.metadata import entry_points

        from mubench.method.discovery import METHODS_GROUP

        rows = [
            [e.name, f"{e.dist.name} {e.dist.version}" if e.dist else "", e.value]
            for e in sorted(set(entry_points(group=METHODS_GROUP)), key=lambda e: e.name)
        ]
        headers = ["method", "distribution", "class"]
    click.echo(plain(rows, headers, "lllrrr" if what == "tasks" else ""))


@main.command(epilog=examples("mubench show tmu", "mubench show ./mine.py:Mine"))
@click.argument("reference", metavar="METHOD")
def show(reference: str) -> None:
    """Prints what a method is, what it needs and its parameters."""
    with usage_errors():
        from mubench.method.discovery import load_method
        from mubench.method.parameters import describe_parameters

        method = load_method(reference)
    import inspect

    where = (
        f"{method.distribution} {method.distribution_version}"
        if method.distribution
        else "not installed"
    )
    click.echo(f"{method.name} ({where})\n")
    click.echo((inspect.getdoc(method.cls) or "no description") + "\n")
    click.echo(f"access: {', '.join(sorted(method.requires))}")
    click.echo(f"ranked: {'no, a control' if method.control else 'yes'}\n")
    from mubench._util.tables import plain

    rows = [[p.name, p.type, p.default, p.meaning] for p in describe_parameters(method.cls)]
    headers = ["parameter", "type", "default", "meaning"]
    widths = [None, 26, None, 70]
    click.echo(plain(rows, headers, widths=widths) if rows else "no parameters")
