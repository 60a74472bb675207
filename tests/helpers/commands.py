"""Commands, called in this process."""

from click.testing import CliRunner

from mubench.cli.main import main


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


RUN = ("run", "--task", "tiny.toml", "--method", "./mine.py:MyMethod")
