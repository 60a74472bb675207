"""Methods in processes of their own: the same numbers, and no harm from twelve bad ones."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from mubench._util.files import HARNESS
from mubench.cli.main import main
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import read_record
from mubench.run.cell import Cell, earlier, measure
from mubench.run.execute import Outcome
from mubench.run.isolation import host, wire_format
from mubench.run.isolation.host import Isolation, time_limit
from tests.helpers.methods import bad
from tests.helpers.places import BAD_PLUGINS
from tests.helpers.processes import TOKEN, tokened
from tests.helpers.tiny import TINY

ON_LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def isolation(tiny_store, results, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv(TOKEN, "1")
        isolation = Isolation([tiny_store.root, results], memory_bytes=3_000_000_000)
    with isolation:
        yield isolation
    time.sleep(0.1)
    assert not tokened()


@pytest.fixture(scope="module")
def run(tiny, tiny_store, isolation, results):
    """Measures a method in a process of its own, on the tiny task."""

    def run_it(reference, seed=0, **settings):
        (method,) = isolation.describe(reference, [settings])
        cell = Cell(tiny.cases[0], method, None, seed)
        return measure(tiny, tiny_store, cell, results, again=True, isolation=isolation)

    return run_it


def run_here(tiny, tiny_store, reference, folder, seed=0):
    method = load_method(reference)
    cell = Cell(tiny.cases[0], method, configure(method, {}), seed)
    return measure(tiny, tiny_store, cell, folder, again=True)


# ---- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["finetune", "tmu", "oracle"])
def test_numbers_are_those_of_a_run_in_this_process(run, tiny, tiny_store, tmp_path, reference):
    apart = run(reference).record
    here = run_here(tiny, tiny_store, reference, tmp_path).record
    assert apart.status == here.status == "ok"
    assert apart.readout_sha256 == here.readout_sha256
    assert apart.metrics == here.metrics
    assert apart.reports == here.reports
    for count in ("forward_samples", "backward_samples", "epochs_equivalent"):
        assert getattr(apart.cost, count) == getattr(here.cost, count)
    assert (apart.isolated, here.isolated) == (True, False)
    assert apart.cost.peak_memory_bytes > 50e6
    assert not apart.measures_the_same_as(here)


def test_methods_that_get_the_training_log_and_declare_no_forget_set(run, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Mine:
    requires: ClassVar[frozenset[str]] = frozenset({"training_log", "retain"})
    def unlearn(self, problem):
        assert [line.epoch for line in problem.training_log] == [1, 2, 3]
        assert problem.retain.images.shape == (234, 3, 8, 8)
        try:
            problem.forget
        except RuntimeError:
            return problem.original
"""
    )
    assert run(f"{source}:Mine").record.error is None


def test_descriptions_say_what_a_record_needs_and_list_every_mistake(isolation):
    method = load_method("finetune")
    first, second = isolation.describe("finetune", [{}, {"lr": 0.5}])
    assert (first.name, first.distribution) == ("finetune", "mubench")
    assert first.source_sha == method.source_sha
    assert first.requires == {"retain"}
    assert (first.parameters["lr"], second.parameters["lr"]) == (0.01, 0.5)
    with pytest.raises(ValueError, match=r"(?s)no parameter 'lrr'.*finetune.lr"):
        isolation.describe("finetune", [{"lrr": 1}, {"lr": -1}])
    with pytest.raises(ValueError, match="unknown method 'finetun'"):
        isolation.describe("finetun")


def test_the_time_limit_follows_from_the_budget():
    assert time_limit(budget=0.5, retrain_seconds=1) == host.LEAST_LIMIT_SECONDS
    assert time_limit(budget=0.1, retrain_seconds=1000) == 2000  # retraining itself has to fit
    assert time_limit(budget=2, retrain_seconds=1000) == 8000


# ---- bad methods --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(run):
    """The record of a good method, before any bad one ran."""
    return run("finetune").record


@pytest.mark.parametrize(
    ("name", "settings", "status", "error", "flags"),
    [
        ("raises_in_unlearn", {}, "error", "RuntimeError: out of ideas", ()),
        ("allocates", {}, "error", "out of memory", ()),
        ("exits", {}, "error", "SystemExit: 0", ()),
        ("crashes", {"how": "exit"}, "error", "ended its process with exit code 7", ()),
        ("crashes", {"how": "kill"}, "error", "killed by SIGKILL", ()),
        ("crashes", {"how": "segfault"}, "error", "killed by SIGSEGV", ()),
        ("crashes", {"how": "come back twice"}, "ok", None, ("no-op",)),
        ("forks", {}, "ok", None, ("left-processes", "no-op")),
        ("returns_none", {}, "error", "returned NoneType", ()),
        ("returns_nan", {}, "diverged", "not all finite", ()),
        ("edits_forget", {}, "ok", None, ("no-op",)),
        ("changes_settings", {}, "ok", None, ("no-op",)),
        ("patches_metric", {}, "ok", None, ("no-op",)),
        ("looks_for_golds", {}, "ok", None, ("no-op",)),
    ],
)
def test_a_bad_method_ends_as_a_record_and_harms_no_other(
    run, honest, name, settings, status, error, flags, capfd
):
    settled = (torch.get_default_dtype(), torch.get_num_threads(), Path.cwd(), dict(os.environ))
    servers = tokened()
    assert servers or not ON_LINUX
    record = run(bad(name), **settings).record
    assert (record.status, record.flags) == (status, flags), record.error
    assert record.error is None if error is None else error in record.error
    assert tokened() <= servers  # nothing is left of it
    if name == "crashes":
        assert "goodbye" in capfd.readouterr().err
    after = run("finetune")
    assert after.record.metrics == honest.metrics
    assert after.record.readout_sha256 == honest.readout_sha256
    assert after.path.with_suffix(".npz").exists()
    assert settled == (
        torch.get_default_dtype(), torch.get_num_threads(), Path.cwd(), dict(os.environ)
    )  # fmt: skip


def test_a_method_that_raises_at_import_is_a_mistake_of_the_users(isolation):
    with pytest.raises(ValueError, match="cannot be imported: RuntimeError: no such luck"):
        isolation.describe(bad("raises_at_import"))


def test_a_hang_ends_at_the_limit(run, monkeypatch, capfd):
    monkeypatch.setattr(host, "LEAST_LIMIT_SECONDS", 2)
    monkeypatch.setattr(host, "RETRAINS", 0)
    monkeypatch.setattr(host, "BUDGETS", 0)
    servers = tokened()
    record = run(bad("hangs")).record
    assert record.status == "timeout"
    assert record.error == "stopped after 2 s"
    assert 2 <= record.cost.seconds < 10
    assert tokened() <= servers
    assert "still thinking" in capfd.readouterr().err


def test_the_peak_memory_is_the_methods_own(run, tmp_path):
    source = tmp_path / "large.py"
    source.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
import torch
@dataclass(frozen=True, kw_only=True)
class Large:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    def unlearn(self, problem):
        torch.ones(2**28)
        return problem.original
"""
    )
    small = run("original").record.cost.peak_memory_bytes
    large = run(f"{source}:Large").record.cost.peak_memory_bytes
    assert 0.9 * 2**30 < large - small < 1.2 * 2**30


def test_the_clock_cannot_be_stopped_early(run, tmp_path):
    source = tmp_path / "forger.py"
    source.write_text(
        """
import gc, time
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Forger:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})
    def unlearn(self, problem):
        (caller,) = [x for x in gc.get_objects() if type(x).__name__ == "_Caller"]
        caller.say("done")
        time.sleep(1)
        return problem.original
"""
    )
    record = run(f"{source}:Forger").record
    assert record.status == "error"
    assert "unreadable" in record.error


def test_an_import_that_hangs_or_ends_the_process_is_a_mistake_too(
    isolation, monkeypatch, tmp_path
):
    monkeypatch.setattr(host, "START_SECONDS", 1)
    source = tmp_path / "mine.py"
    for text, reason in (
        ("import time; time.sleep(60)", "stopped after 1 s"),
        ("import os; os._exit(3)", "ended its process with exit code 3"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ):
        source.write_text(text)
        with pytest.raises(ValueError, match=f"cannot be imported: .*{reason}"):
            isolation.describe(f"{source}:Mine")


@pytest.mark.parametrize(
    ("body", "error", "printed"),
    [
        ("problem.original.extra = nn.Parameter(torch.zeros(10**6))", "returned far more", ""),
        ("problem.original.to(torch.complex64)", "complex", ""),
        ("sys.stdout.write('x' * 10**6 + 'the end')", None, "the end"),
        ("os.write(2, b'to the descriptor')", None, "to the descriptor"),
    ],
)
def test_what_comes_out_has_bounds(run, tmp_path, capfd, body, error, printed):
    source = tmp_path / "mine.py"
    source.write_text(
        f"""
import os, sys, torch
from torch import nn
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Mine:
    requires: ClassVar[frozenset[str]] = frozenset({{"forget"}})
    def unlearn(self, problem):
        {body}
        return problem.original
"""
    )
    record = run(f"{source}:Mine").record
    assert (record.error is None) if error is None else (error in record.error)
    seen = capfd.readouterr().err
    assert seen.rstrip().endswith(printed)
    assert len(seen) < 200_000


def test_an_outcome_is_not_believed_before_it_is_checked():
    def outcome(**changes):
        reports = {"easy": np.array([True, False]), **changes.pop("reports", {})}
        weights = {"w": torch.ones(2, 3).T}
        return wire_format.pack_outcome(Outcome("ok", weights=weights, reports=reports, **changes))

    whole = wire_format.unpack_outcome(outcome(forward_samples=3), 2)
    assert whole.weights is not None
    assert whole.weights["w"].tolist() == torch.ones(3, 2).tolist()
    assert whole.forward_samples == 3
    assert whole.reports["easy"].tolist() == [True, False]
    counted = outcome(forward_samples=12)
    for content in (
        b"",
        b"x" * 100,
        counted[:-1],
        counted.replace(b'"forward_samples":12', b'"forward_samples":-1'),
        safetensors.torch.save({"json": torch.ones(9, dtype=torch.bfloat16)}),
        safetensors.torch.save({"weights.w": torch.ones(9)}),
    ):
        with pytest.raises(ValueError, match="unreadable"):
            wire_format.unpack_outcome(content, 2)
    nan = np.array([0.0, np.nan], np.float32)
    for reports in ({"hard": np.zeros(2)}, {"easy": np.zeros(2)}, {"easy_score": nan}):
        with pytest.raises(ValueError, match="bad report"):
            wire_format.unpack_outcome(outcome(reports=reports), 2)
    with pytest.raises(ValueError, match="bad report"):
        wire_format.unpack_outcome(outcome(), 3)


def test_a_folder_that_holds_code_is_not_hidden(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "results" / "cache"))
    monkeypatch.setenv("MUBENCH_DATA", str(HARNESS.parent))
    hidden = host._hideable([tmp_path / "results"])
    assert hidden[:2] == [str(tmp_path / "results" / "cache"), str(tmp_path / "results")]
    assert str(HARNESS.parent) not in hidden
    assert "it holds code" in capsys.readouterr().err


# ---- what a method can reach --------------------------------------------------------------------


def test_the_search_for_golds_finds_them_where_nothing_is_isolated(tiny, tiny_store, tmp_path):
    record = run_here(tiny, tiny_store, bad("looks_for_golds"), tmp_path).record
    assert record.status == "error"
    for thing in ("in a frame of measure", "a LoadedTask in memory", "samples in memory"):
        assert thing in record.error


def test_cache_and_results_are_not_in_the_file_system(run, isolation, tiny_store, results):
    run("original")  # so that there are results
    if isolation.visible:
        pytest.skip(isolation.visible)
    assert any(tiny_store.root.rglob("*.safetensors"))
    assert any(results.rglob("*.npz"))
    places = [str(tiny_store.root), str(results)]
    assert run(bad("looks_for_golds"), places=places).record.error is None


def test_what_hides_the_cache_cannot_be_taken_away(run, isolation, tiny_store, tmp_path):
    if isolation.visible:
        pytest.skip(isolation.visible)
    source = tmp_path / "digger.py"
    source.write_text(
        f"""
import ctypes, os
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True, kw_only=True)
class Digger:
    requires: ClassVar[frozenset[str]] = frozenset({{"forget"}})
    def unlearn(self, problem):
        libc = ctypes.CDLL(None)
        place = {str(tiny_store.root)!r}
        for attempt in range(2):
            assert libc.umount2(place.encode(), 2) != 0
            assert os.listdir(place) == []
            libc.unshare(0x10020000)
        return problem.original
"""
    )
    record = run(f"{source}:Digger").record
    assert record.error is None


@pytest.mark.skipif(not ON_LINUX, reason="elsewhere only process groups are swept")
def test_without_namespaces_processes_are_walled_in_all_the_same(
    tiny, tiny_store, results, monkeypatch
):
    monkeypatch.setenv(TOKEN, "1")
    plant = "from mubench.run.isolation import linux\nlinux.enter_namespaces = lambda: 'on purpose'"
    monkeypatch.setattr(host, "BOOT", host.BOOT.replace("serve(", f"{plant}\nserve("))
    others = tokened()
    with Isolation([tiny_store.root, results], memory_bytes=3_000_000_000) as isolation:
        for name, flags in (("forks", ("left-processes", "no-op")), ("crashes", ())):
            (method,) = isolation.describe(bad(name))
            servers = tokened() - others
            cell = Cell(tiny.cases[0], method, None, 0)
            record = measure(
                tiny, tiny_store, cell, results, again=True, isolation=isolation
            ).record
            assert record.flags == flags
            assert tokened() - others <= servers
        assert isolation.visible == "on purpose"
        # A method that kills what isolates it harms nobody else either.
        isolation._process.kill()
        isolation._process.wait()
        (method,) = isolation.describe("original")
        assert method.name == "original"
    assert tokened() <= others


@pytest.mark.skipif(not ON_LINUX, reason="looks for processes in /proc")
@pytest.mark.slow
def test_nothing_outlives_a_caller_that_is_killed(tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        f"""
import sys
from mubench.isolate import Isolation
isolation = Isolation()
(method,) = isolation.describe({bad("hangs")!r})
child = isolation._child()
child.say(isolation._request(method.reference, [dict()]))
child.hear(60)
print("up", flush=True)
child.hear(600)
"""
    )
    token = f"CALLER_OF_{TOKEN}"
    caller = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env=os.environ | {token: "1"},
    )
    with caller:
        try:
            assert caller.stdout
            assert caller.stdout.readline() == b"up\n"
            mine = tokened(token)
            assert len(mine) >= 3
        finally:
            caller.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in mine):
            break
        time.sleep(0.05)
    else:
        pytest.fail("something is still there")


def test_records_are_of_the_case_where_the_source_changes_during_the_run(
    tiny, tiny_store, isolation, results, tmp_path
):
    source = tmp_path / "mine.py"
    text = (BAD_PLUGINS / "returns_none.py").read_text()
    source.write_text(text)
    (method,) = isolation.describe(f"{source}:Bad")
    source.write_text(text + "\n# another\n")
    cell = Cell(tiny.cases[0], method, None, 0)
    record = measure(tiny, tiny_store, cell, results, again=True, isolation=isolation).record
    assert record.error == "its source changed during the run"
    assert earlier(results / "nothing.json", record) is None


def test_the_command_isolates_when_it_is_told_to(tiny_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUBENCH_CACHE", str(tiny_store.root))
    Path("tiny.toml").write_text(TINY)
    Path("mine.py").write_text((BAD_PLUGINS / "exits.py").read_text())
    command = ["run", "--task", "tiny.toml", "--isolate", "--method", "./mine.py:Bad"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1, result.output
    assert "SystemExit: 0" in result.stdout
    (path,) = Path("results").rglob("*.json")
    record = read_record(path)
    assert (record.method, record.status, record.isolated) == ("bad", "error", True)
    result = CliRunner().invoke(main, [*command, "--set", "x=1"])
    assert result.exit_code == 2
    assert "bad has no parameter 'x'" in result.stderr
