"""Options that several commands share, and how a user's mistake ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mubench._util.errors import UserError

TASK = click.option("--task", "task_name", required=True, help="A task's name, or its TOML file.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1; auto: a GPU if any."
)
CASE = click.option(
    "--case", "case_ids", multiple=True, metavar="CASE", help="Such as cat-100; repeatable."
)

SETTINGS = click.option(
    "-s", "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the method; repeatable. `mubench show METHOD` lists them.",
)  # fmt: skip
PRESET = click.option(
    "--preset", default="", metavar="NAME|FILE",
    help="Parameters under a name, such as paper, or a file of `mubench tune`; --set goes on top.",
)  # fmt: skip
OUT = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
    show_default=True, help="Folder of records.",
)  # fmt: skip


def examples(*lines: str) -> str:
    """The end of a help page: commands to try."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Refused(click.ClickException):
    """A user's mistake, or a refusal of the operating system: one message and exit code 2."""

    exit_code = 2


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns a user's mistake into one clear message and exit code 2."""
    try:
        yield
    except UserError as error:
        raise Refused(str(error)) from None
