"""The Python door: measuring from a notebook or a script."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from mubench._util.errors import UserError
from mubench.method.discovery import load_method
from mubench.record.folder import ResultsFolder
from mubench.run.cell import Cell
from mubench.run.cell import measure as measure_cell
from mubench.run.notebook import measure
from mubench.training import loop
from tests.helpers.packages import succeed
from tests.helpers.tiny import TINY
from tests.helpers.tuning import NOISY


@dataclass(frozen=True, kw_only=True)
class Untouched:
    """Returns the original as it is."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        return problem.original


@dataclass(frozen=True, kw_only=True)
class Raises(Untouched):
    """Raises."""

    def unlearn(self, problem):
        raise RuntimeError("out of ideas")


@pytest.fixture
def here(library, tmp_path, monkeypatch):
    """The cache of the tiny task's models, and an empty working folder."""
    monkeypatch.setenv("MUBENCH_CACHE", str(library.store.root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_record_per_case_and_seed_as_the_command_would_write_it(library, here):
    task = library.loaded.task
    records = measure("finetune", task, seeds=[0, 1], settings={"lr": 0.02}, device="cpu")
    assert [(record.case, record.seed) for record in records] == [("b-6", 0), ("b-6", 1)]
    assert {record.parameters["lr"] for record in records} == {0.02}
    assert all(ResultsFolder(here / "results").record(record).is_file() for record in records)
    method = load_method("finetune")
    cell = Cell(library.loaded.cases[0], method, replace(method.cls(), lr=0.02), 0)
    with loop.threads(1):
        by_hand = measure_cell(library, cell, ResultsFolder(here / "other")).record
    assert by_hand.readout_sha256 == records[0].readout_sha256


def test_the_same_again_is_not_measured_twice(library, here):
    first = measure("finetune", library.loaded.task, device="cpu")
    assert measure("finetune", library.loaded.task, device="cpu") == first
    (again,) = measure("finetune", library.loaded.task, device="cpu", again=True)
    assert again.readout_sha256 == first[0].readout_sha256
    assert again.cost != first[0].cost


def test_an_instance_and_a_task_file(here):
    Path("tiny.toml").write_text(TINY)
    (record,) = measure(Untouched(), "tiny.toml", cases="b-6", results="mine", device="cpu")
    assert (record.method, record.distribution) == ("untouched", None)
    assert "no-op" in record.flags
    assert list(Path("mine").glob("tiny/untouched/b-6*.json"))


def test_an_instance_of_an_installed_method_has_its_name(library, here):
    (record,) = measure(load_method("finetune").cls(lr=0.02), library.loaded.task, device="cpu")
    assert (record.method, record.distribution) == ("finetune", "mubench")
    assert record.source_sha256 == load_method("finetune").source_sha256


def test_isolated_it_gives_the_same_numbers(library, here):
    (record,) = measure("finetune", library.loaded.task, isolate=True, device="cpu")
    assert record.isolated
    (inside,) = measure("finetune", library.loaded.task, results="inside", device="cpu")
    assert record.readout_sha256 == inside.readout_sha256


def test_a_failure_is_a_record_with_a_note(library, here):
    (record,) = measure(Raises(), library.loaded.task, device="cpu")
    assert (record.status, record.error) == ("error", "RuntimeError: out of ideas")
    assert "out of ideas" in ResultsFolder(here / "results").note(record).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "finetunee"}, "did you mean 'finetune'"),
        ({"settings": {"lrr": 1}}, "did you mean 'lr'"),
        ({"cases": ["c-6"]}, "no case 'c-6'"),
        ({"device": "gpu"}, "--device 'gpu'"),
        ({"method": Untouched(), "settings": {"lr": 1}}, "settings needs a method that is given"),
        ({"method": Untouched(), "isolate": True}, "isolate needs a method that is given by name"),
        ({"method": object()}, "is not a dataclass"),
    ],
)
def test_a_mistake_is_one_error_that_says_what_to_do(library, here, arguments, message):
    given = {"method": "finetune", "task": library.loaded.task, "device": "cpu"} | arguments
    with pytest.raises(UserError, match=message):
        measure(**given)


def test_no_global_state_is_left_behind(library, here):
    before = (Path.cwd(), dict(os.environ), torch.get_num_threads(), torch.get_rng_state())
    main = sys.modules["__main__"]
    measure("finetune", library.loaded.task, device="cpu")
    after = (Path.cwd(), dict(os.environ), torch.get_num_threads(), torch.get_rng_state())
    assert after[:3] == before[:3]
    assert torch.equal(after[3], before[3])
    assert sys.modules["__main__"] is main


@pytest.mark.slow
def test_a_script_without_a_guard_trains_in_workers(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "script.py").write_text(
        "from mubench import measure\n"
        "print(len(measure('finetune', 'tiny.toml', device='cpu')), 'measured')\n"
    )
    cache = str(tmp_path / "cache")
    printed = succeed(sys.executable, "script.py", cwd=tmp_path, MUBENCH_CACHE=cache)
    assert printed == "1 measured\n"


def test_a_preset_goes_by_name_and_needs_a_method_by_name(library, here):
    (here / "noisy.py").write_text(NOISY)
    task = library.loaded.task
    given = {"preset": "paper", "isolate": False, "device": "cpu"}
    (record,) = measure("./noisy.py:Noisy", task, **given)
    assert (record.preset, record.changed, record.parameters["noise"]) == (
        "paper", ("noise",), 0.2,
    )  # fmt: skip
    (record,) = measure("./noisy.py:Noisy", task, settings={"noise": 0.1}, **given)
    assert (record.preset, record.changed) == ("", ("noise",))
    with pytest.raises(UserError, match="preset needs a method that is given by name"):
        measure(Untouched(), task, preset="paper")


@pytest.mark.parametrize(("method", "expected"), [("finetune", False), ("amnesiac-subtract", True)])
def test_logs_of_updates_are_made_for_methods_that_take_them_back(
    library, here, monkeypatch, method, expected
):
    def build(*_, update_logs):
        assert update_logs is expected
        raise KeyboardInterrupt

    monkeypatch.setattr("mubench.run.notebook.build_missing", build)
    with pytest.raises(KeyboardInterrupt):
        measure(method, library.loaded.task, device="cpu")
