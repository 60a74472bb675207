"""Methods that a user named, with their parameters, and the cells that they are measured in."""

from pathlib import Path

import pytest

from mubench._util.errors import UserError
from mubench.method.presets import Choice
from mubench.run.entrant import Entrant, isolation_for
from mubench.run.isolation.host import Isolation
from mubench.task.spec import Case

CASES = [Case("a-1", "a", 1), Case("b-1", "b", 1)]


def test_a_named_method_has_its_parameters_and_its_preset():
    entrant = Entrant.named("finetune", Choice(preset="paper"), None)
    assert (entrant.method.name, entrant.preset) == ("finetune", "paper")
    assert entrant.instance.schedule == "constant"
    with pytest.raises(UserError, match="finetune"):
        Entrant.named("finetune", Choice({"no": 1}), None)


def test_cells_come_case_by_case():
    entrant = Entrant.named("finetune", Choice({"epochs": 3}), None)
    cells = entrant.cells(CASES, (seed for seed in (0, 5)))
    assert [(cell.case.id, cell.seed) for cell in cells] == [
        ("a-1", 0), ("a-1", 5), ("b-1", 0), ("b-1", 5),
    ]  # fmt: skip
    assert all(cell.parameters["epochs"] == 3 and cell.method is entrant.method for cell in cells)


@pytest.mark.parametrize(
    ("reference", "isolate", "walled"),
    [
        ("finetune", None, False),
        ("finetune", True, True),
        ("./mine.py:Mine", None, True),
        ("./mine.py:Mine", False, False),
    ],
)
def test_only_built_in_methods_run_unwalled_unless_told(reference, isolate, walled):
    with isolation_for(reference, isolate, Path("results")) as isolation:
        assert isinstance(isolation, Isolation) is walled
