"""What a command trains first: told before, and told when it cannot end well."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from mubench._util.workers import WorkerLost
from mubench.cli import loading
from mubench.gold import build
from tests.helpers.commands import RUN, call
from tests.helpers.tiny import TINY


@pytest.mark.slow
def test_a_training_that_cannot_end_well_is_one_clear_message(folder, monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", str(folder / "empty"))
    Path("tiny.toml").write_text(TINY.replace("lr = 0.1", "lr = 1e9"))
    result = call("gold", "build", "--task", "tiny.toml", "--case", "b-6")
    assert result.exit_code == 1
    assert "training tiny@1 diverged" in result.stderr
    monkeypatch.setattr(build.LocalExecutor, "submit", lambda *_: lost_future())
    result = call("gold", "build", "--task", "tiny.toml", "--case", "b-6")
    assert result.exit_code == 1
    assert "broke off: its worker was lost" in result.stderr


def lost_future():
    future = Future()
    future.set_exception(WorkerLost("its worker was lost, exit code -9"))
    return future


@pytest.mark.slow
def test_what_is_missing_is_told_before_it_is_trained(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "empty"))
    result = call(*RUN)
    assert result.exit_code == 0, result.output
    plan, estimate, *others = result.stderr.splitlines()
    assert "0 of 3 models are cached; training original 0, gold 1 of b-6, gold 2 of b-6" in plan
    assert "about" in estimate
    assert any("trained original 0" in line for line in others)


def test_logs_of_updates_are_asked_for_where_a_method_declares_them(library, monkeypatch):
    asked = []
    monkeypatch.setattr(build, "build_missing", lambda *_, update_logs: asked.append(update_logs))
    for requires in ((), ("retain", "shards"), ("retain", "update_log")):
        loading.build_missing(library, library.loaded.cases[:1], [0], requires)
    assert asked == [False, False, True]
