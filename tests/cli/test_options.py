"""What the commands share: a user's mistake as a refusal, and examples in help."""

import click
import pytest
from click.testing import CliRunner

from mubench._util.errors import DoesNotHold, UserError
from mubench.cli.options import CASE, SETTINGS, Refused, examples, usage_errors


@pytest.mark.parametrize("kind", [UserError, DoesNotHold])
def test_a_users_mistake_is_a_refusal(kind):
    with pytest.raises(Refused, match="no such task") as caught, usage_errors():
        raise kind("no such task")
    assert caught.value.exit_code == 2
    assert caught.value.__cause__ is None


def test_a_bug_passes_through():
    bug = ValueError("could not be broadcast")
    with pytest.raises(ValueError, match="broadcast") as caught, usage_errors():
        raise bug
    assert caught.value is bug


def test_examples_keep_their_lines():
    command = click.Command("some", epilog=examples("mubench some one", "mubench some two"))
    lines = CliRunner().invoke(command, ["--help"]).stdout.splitlines()
    assert [line.strip() for line in lines[-3:]] == [
        "Examples:", "mubench some one", "mubench some two",
    ]  # fmt: skip


def test_cases_and_settings_can_be_given_again_and_again():
    @click.command
    @CASE
    @SETTINGS
    def show(case_ids, settings):
        click.echo([case_ids, settings])

    arguments = ["--case", "a-1", "-s", "lr=1", "--case", "b-2", "--set", "n=2"]
    result = CliRunner().invoke(show, arguments)
    assert result.stdout == "[('a-1', 'b-2'), ('lr=1', 'n=2')]\n"
