"""Commands, called in this process."""

from collections.abc import Sequence

import click
from click.testing import CliRunner

from mubench.cli.main import main


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def parsed(words: Sequence[str], **options: bool) -> click.Context:
    """The context of a command, parsed below those of its groups and not run.

    Without them, click would keep a help option for the command that lacks the groups' names of it.
    """
    names, command, context = list(words), main, None
    while hasattr(command, "commands"):
        context = command.make_context(names[0], [], parent=context, resilient_parsing=True)
        command = command.commands[names.pop(0)]
    return command.make_context("command", names, parent=context, **options)


RUN = ("run", "--task", "tiny.toml", "--method", "./mine.py:MyMethod")
