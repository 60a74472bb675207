"""The command itself: help of every command, and `show`."""

from mubench.cli.main import main
from tests.helpers.commands import call


def test_every_command_has_help_with_examples():
    def walk(command, path):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, [*path, name])
        else:
            result = call(*path, "-h")
            assert result.exit_code == 0
            assert "Examples:" in result.output, path

    walk(main, [])


def test_show_tells_parameters_and_access(folder):
    result = call("show", "./mine.py:MyMethod")
    assert result.exit_code == 0
    for words in ("Does a thing", "access: forget", "float > 0", "step size", "inner.depth"):
        assert words in result.stdout
