"""Methods in processes of their own: the same numbers, and no harm from bad ones."""

import os
from pathlib import Path

import pytest
import torch

from mubench._util.files import HARNESS
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell, measure
from mubench.run.isolation import host
from mubench.run.isolation.host import time_limit
from tests.helpers.methods import bad
from tests.helpers.places import BAD_PLUGINS
from tests.helpers.processes import ON_LINUX, tokened


def run_here(library, reference, folder, seed=0):
    method = load_method(reference)
    cell = Cell(library.loaded.cases[0], method, configure(method, {}), seed)
    return measure(library, cell, ResultsFolder(folder), again=True)


@pytest.mark.parametrize("reference", ["finetune", "tmu", "oracle"])
def test_numbers_are_those_of_a_run_in_this_process(run, library, tmp_path, reference):
    apart = run(reference).record
    here = run_here(library, reference, tmp_path).record
    assert apart.status == here.status == "ok"
    assert apart.readout_sha256 == here.readout_sha256
    assert apart.metrics == here.metrics
    assert apart.reports == here.reports
    assert apart.cost.operations is not None
    for count in ("forward_samples", "backward_samples", "epochs_equivalent", "operations"):
        assert getattr(apart.cost, count) == getattr(here.cost, count)
    assert (apart.isolated, here.isolated) == (True, False)
    assert apart.cost.peak_memory_bytes > 50e6
    assert apart.head != here.head


def test_the_time_limit_follows_from_the_budget():
    assert time_limit(budget=0.5, retrain_seconds=1) == host.LEAST_LIMIT_SECONDS
    assert time_limit(budget=0.1, retrain_seconds=1000) == 2000  # retraining itself has to fit
    assert time_limit(budget=2, retrain_seconds=1000) == 8000


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


def test_a_folder_that_holds_code_is_not_hidden(tmp_path, monkeypatch, capsys):
    (tmp_path / "results/cache").mkdir(parents=True)
    monkeypatch.setenv("MUBENCH_DATA", str(HARNESS.parent))
    hidden = host._hideable([tmp_path / "results/cache", tmp_path / "results"])
    assert hidden[:2] == [str(tmp_path / "results" / "cache"), str(tmp_path / "results")]
    assert str(HARNESS.parent) not in hidden
    assert "it holds code" in capsys.readouterr().err


def test_the_search_for_golds_finds_them_where_nothing_is_isolated(library, tmp_path):
    record = run_here(library, bad("looks_for_golds"), tmp_path).record
    assert record.status == "error"
    for thing in ("in a frame of measure", "a LoadedTask in memory", "samples in memory"):
        assert thing in record.error


def test_records_are_of_the_case_where_the_source_changes_during_the_run(
    library, isolation, results, tmp_path
):
    source = tmp_path / "mine.py"
    text = (BAD_PLUGINS / "returns_none.py").read_text()
    source.write_text(text)
    (method,) = isolation.describe(f"{source}:Bad")
    source.write_text(text + "\n# another\n")
    cell = Cell(library.loaded.cases[0], method, None, 0)
    folder = ResultsFolder(results)
    record = measure(library, cell, folder, again=True, isolation=isolation).record
    assert record.error == "its source changed during the run"
    assert folder.record(record).is_file()
    assert folder.earlier(record.head) is None
