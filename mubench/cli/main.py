"""The group of all commands. Data goes to stdout, everything else to stderr.

Exit codes: 0 done; 1 a run failed or a check did not hold; 2 wrong usage; 130 interrupted. What is
wrong is one line on stderr. If there are several mistakes in one file, each has a line of its own.

Commands import what they need when they run, so that help is instant.
"""

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean, say

from .author import check, new_method
from .entries import submit, verify
from .golds import gold
from .leaderboard import leaderboard, plot, regress, report
from .options import Refused, examples
from .run import run
from .sweep import sweep
from .tune import tune

if TYPE_CHECKING:
    from mubench.task.spec import Task

HINTS = {
    errno.EACCES: "check its permissions, or name another place",
    errno.EPERM: "check its permissions, or name another place",
    errno.EROFS: "the file system is read-only: name another place",
    errno.ENOSPC: "the disk is full: free space, or name another place",
    errno.EFBIG: "files of this size are not allowed here: name another place",
    errno.ENOTDIR: "a file stands where a folder should be: move it, or name another place",
    errno.EEXIST: "a file stands where a folder should be: move it, or name another place",
    errno.EISDIR: "a folder stands where a file should be: move it, or name another place",
    errno.ENOENT: "it is not there: check the path",
    errno.ELOOP: "its links lead in a circle: mend them",
    errno.ENAMETOOLONG: "its name is too long: choose a shorter one",
    errno.EDQUOT: "your share of the disk is full: free space, or name another place",
    errno.EIO: "the disk or the network failed: try again, or name another place",
    errno.ESTALE: "the network's file system lost it: try again",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n`",
    errno.ENXIO: "it is no file: name another place",
    errno.EBUSY: "something else uses it: try again, or name another place",
}
"""What to do when the operating system says no, by its number for the reason."""


class Commands(click.Group):
    """A group whose commands end in one clear line when the user or the system is to blame."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the command line, in which no file can have NUL in its name."""
        if any("\0" in arg for arg in args):
            raise Refused("an argument holds NUL, which no name can have")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; a user's mistake and a refusal of the system end with code 2."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # where a failure can still be told
            return result
        except UserError as error:
            raise Refused(str(error)) from None
        except OSError as error:
            if error.errno not in HINTS or (error.filename is None and error.errno != errno.ENOSPC):
                raise  # a pipe that is closed, or a bug
            if error.filename is None:
                _drop_stdout()
            place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            raise Refused(f"{place}{error.strerror}; {HINTS[error.errno]}") from None


def _drop_stdout() -> None:
    """Gives up what is not printed yet. Otherwise Python tries again at its end and fails."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


for command in (
    run,
    sweep,
    tune,
    gold,
    leaderboard,
    plot,
    report,
    regress,
    check,
    new_method,
    submit,
    verify,
):
    main.add_command(command)


@main.command("list", epilog=examples("mubench list methods", "mubench list tasks"))
@click.argument("what", type=click.Choice(["methods", "tasks"]))
def list_(what: str) -> None:
    """Names what is installed; imports no method.

    A task that cannot be used has a line on stderr that says why.
    """
    rows, headers, align = _tasks() if what == "tasks" else _methods()
    from mubench._util.tables import plain

    click.echo(plain(rows, headers, align))


def _tasks() -> tuple[list[list[Any]], list[str], str]:
    from mubench.task.installed import read_installed

    tasks, broken = read_installed()
    rows: list[list[Any]] = []
    for task in tasks:
        try:
            _check_network(task)
        except UserError as error:
            broken.append(f"task {task.name}: {error}")
            continue
        rows.append(
            [task.id, task.data.name, task.model.name, task.num_cases, task.measure.golds,
             task.train.epochs]
        )  # fmt: skip
    for line in broken:
        say(line)
    headers = ["task", "data", "model", "cases", "golds per case", "epochs per model"]
    return rows, headers, "lllrrr"


def _check_network(task: "Task") -> None:
    """Refuses a task of a network that timm does not have, or not so."""
    from mubench.task.architectures import needs_timm

    if not needs_timm(task.model.name, task.model.options):
        return  # the spec was checked, and torch would take seconds to import
    from mubench.training.networks import check

    check(task.model, channels=len(task.data.mean), image_size=task.data.image_size)


def _methods() -> tuple[list[list[Any]], list[str], str]:
    from importlib.metadata import entry_points

    from mubench.method.discovery import METHODS_GROUP

    rows = [
        [e.name, f"{e.dist.name} {e.dist.version}" if e.dist else "", e.value]
        for e in sorted(set(entry_points(group=METHODS_GROUP)), key=lambda e: e.name)
    ]
    return rows, ["method", "distribution", "class"], ""


@main.command(
    epilog=examples("mubench show tmu", "mubench show ./mine.py:Mine", "mubench show digits-subset")
)
@click.argument("reference", metavar="METHOD|TASK")
def show(reference: str) -> None:
    """Prints what a method is, or the protocol of a task.

    Of a method: what it needs, its ledger and its parameters. Of a task: its data, model, recipe,
    forget sets, and how many models it takes.
    """
    from mubench.method.discovery import available_methods
    from mubench.task.installed import load_task, task_files

    methods, (tasks, _) = available_methods(), task_files()
    is_method = ":" in reference or reference in methods
    if not is_method and (reference.endswith(".toml") or reference.partition("@")[0] in tasks):
        _show_task(load_task(reference))
    elif is_method:
        _show_method(reference)
    else:
        raise UserError(
            f"unknown method or task {reference!r}{did_you_mean(reference, [*methods, *tasks])} "
            "`mubench list methods` and `mubench list tasks` name those installed; a file is named "
            "./file.py:Class or ./file.toml."
        )


def _show_task(task: "Task") -> None:
    from mubench._util.tables import plain
    from mubench.task.protocol import protocol

    _check_network(task)
    click.echo(f"{task.id}\n\n{task.description.strip() or 'no description'}\n")
    if task.citation:
        click.echo(f"{task.citation}\n")
    click.echo(plain([list(row) for row in protocol(task)], ["part", "is"], widths=[None, 80]))


def _show_method(reference: str) -> None:
    import inspect

    from mubench._util.tables import plain
    from mubench.board.ledger import ledger_of, sheet
    from mubench.method.discovery import available_methods, load_method
    from mubench.method.parameters import describe_parameters
    from mubench.method.presets import presets_of
    from mubench.record.schema import dotted

    method = load_method(reference)
    presets = presets_of(method.cls)
    where = (
        f"{method.distribution} {method.distribution_version}"
        if method.distribution
        else "not installed"
    )
    click.echo(f"{method.name} ({where})\n")
    click.echo((inspect.getdoc(method.cls) or "no description") + "\n")
    click.echo(f"access: {', '.join(sorted(method.requires))}")
    click.echo(f"ranked: {'no, a control' if method.control else 'yes'}\n")
    if ledger := ledger_of(reference, available_methods().get(reference, [])):
        click.echo(plain([list(row) for row in sheet(ledger)], ["ledger", ""], widths=[None, 90]))
        click.echo()
    described = describe_parameters(method.cls)
    rows = [[p.name, p.type, p.default, p.meaning] for p in described]
    headers = ["parameter", "type", "default", "meaning"]
    widths = [None, 26, None, 70]
    click.echo(plain(rows, headers, widths=widths) if rows else "no parameters")
    for name, settings in presets.items():
        rows = [[parameter, value] for parameter, value in dotted(settings).items()]
        click.echo(f"\n{plain(rows, [f'--preset {name}', 'value'], widths=[None, 70])}")
    if searched := [[p.name, str(p.search)] for p in described if p.search]:
        click.echo(f"\n{plain(searched, ['mubench tune', 'looks in'])}")
