"""Fixtures: a reader of grids of the tiny task, and where its jobs find things."""

import pytest

from mubench._util.errors import UserError
from mubench.run.isolation.host import Described
from mubench.run.sweep.grid import read_grid
from mubench.run.sweep.jobs import Place
from tests.helpers.executors import InlineExecutor

REQUIRES = {"for-ensembles": ["shards"], "takes-back": ["update_log"]}


def described(name, choices):
    known = {"lr": 0.1, "epochs": 1}
    mistakes = [
        f"{name} has no parameter {key!r}" for c in choices for key in c.settings.keys() - known
    ]
    if name not in ("finetune", "tmu", "retrain", *REQUIRES):
        mistakes = [f"unknown method {name!r}"]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return [
        Described(
            name=name, distribution="x", distribution_version="1", source_sha256="0" * 64,
            requires=frozenset(REQUIRES.get(name, ())),
            control=False, reference=name, choice=c,
            parameters={**known, **c.settings}, preset=c.preset,
        )
        for c in choices
    ]  # fmt: skip


@pytest.fixture
def read(tiny):
    def load(name):
        if name != "tiny":
            raise UserError(f"unknown task {name!r}")
        return tiny

    return lambda text: read_grid(text, "grid.toml", load, described)


@pytest.fixture
def place(tiny_store, tmp_path) -> Place:
    return Place(tiny_store.root, tmp_path / "results", "cpu", 2, threads=1)


@pytest.fixture
def executor() -> InlineExecutor:
    return InlineExecutor()
