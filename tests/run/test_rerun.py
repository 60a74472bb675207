"""Measuring published records again."""

from mubench.gate.entry import review
from mubench.method.source import source_sha
from tests.helpers.commands import call
from tests.helpers.entries import HOME
from tests.helpers.lab import edit


def test_a_rerun_agrees_with_an_honest_record(entry):
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 0, done.output
    assert "measuring again: small/gentle-ascent/" in done.stderr


def test_a_rerun_finds_what_the_code_does_not_give(entry):
    """Readouts that hold, claimed for code that does something else."""
    source = entry / HOME / "source.py"
    text = source.read_text()
    for old, new in (("problem.schedule_share(self.epochs)", "20"), ("lr=self.lr", "lr=0.1")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    source.write_text(text)
    for path in (entry / HOME).glob("*.json"):
        edit(path, source_sha256=source_sha([source]))
    assert review(entry).complaints == ()
    done = call("verify", entry, "--rerun", 1)
    assert done.exit_code == 1
    assert "measured again, epochs_equivalent is" in done.stdout
    assert "measured again, activation_distance is" in done.stdout
