"""Sweep files: which methods are measured on which cases of which tasks, with which seeds.

    tasks = ["cifar10-subset"]
    methods = ["retrain", {name = "tmu", twin_lr = [0.01, 0.1]}, {name = "tmu", preset = "paper"}]
    cases = ["cat-100", "dog-100"]    # left out, or "all": every case
    seeds = [0, 1]                    # left out: 0

A list of values gives one method per value, and several lists give their product. A parameter that
is itself a list is written as a list of lists. A preset is the name of one, or the path of a file;
the other values go on top. Every mistake in a file is reported at once.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from annotated_types import Ge, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.messages import did_you_mean
from mubench._util.toml import parse_toml
from mubench.gold.loaded import LoadedTask
from mubench.method.parameters import holds_date
from mubench.method.presets import Choice, choose
from mubench.run.cell import Cell, check_fits
from mubench.run.isolation.host import Described

GridCell = tuple[LoadedTask, Cell]
"""A cell with its task."""


def _cases(value: object) -> object:
    return [] if value == "all" else value


class _Grid(BaseModel):
    """A sweep file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: list[str] = []
    methods: list[Any] = []  # looked at one by one, so that one mistake does not hide the others
    cases: Annotated[list[str], BeforeValidator(_cases)] = []
    seeds: Annotated[list[Annotated[int, Ge(0)]], MinLen(1)] = [0]


def read_grid(
    text: str,
    source: str,
    load: Callable[[str], LoadedTask],
    describe: Callable[[str, Sequence[Choice]], list[Described]],
) -> list[GridCell]:
    """Reads a sweep file and finds what it names.

    Args:
        text: the TOML.
        source: what to call the file in a message.
        load: finds a task by name.
        describe: finds a method by name, and checks several presets and sets of parameters.

    Returns:
        The cells, sorted by task, case, method, parameters, seed.

    Raises:
        UserError: the file has mistakes; all are named, each with its path.
    """
    grid, mistakes = _parse(parse_toml(text, source))
    tasks: list[LoadedTask] = []
    methods: list[Described] = []
    for number, name in enumerate(grid.tasks):
        with _noting(mistakes, f"tasks.{number}"):
            tasks.append(load(name))
    for number, entry in enumerate(grid.methods):
        with _noting(mistakes, f"methods.{number}"):
            methods += describe(*_variants(entry))
    different = {loaded.task.id: loaded for loaded in tasks}.values()
    for (number, case_id), loaded in itertools.product(enumerate(grid.cases), different):
        with _noting(mistakes, f"cases.{number}"):
            loaded.case(case_id)
    for method, loaded in itertools.product(methods, different):
        with _noting(mistakes, "methods"):
            check_fits(method, loaded.task)
    mistakes += _repeats("tasks", [loaded.task.id for loaded in tasks])
    mistakes += _repeats("methods", [f"{m.name} with {m.parameters}" for m in methods])
    mistakes += _repeats("cases", grid.cases)
    mistakes += _repeats("seeds", grid.seeds)
    if mistakes:
        raise UserError.of(mistakes, source)
    cells = [
        (loaded, Cell(case, method, None, seed))
        for loaded in tasks
        for case in loaded.cases
        if case.id in grid.cases or not grid.cases
        for method in methods
        for seed in grid.seeds
    ]
    return sorted(cells, key=_place)


def _variants(entry: object) -> tuple[str, list[Choice]]:
    """A method's name, and one choice for each combination of values."""
    if isinstance(entry, str):
        return entry, [Choice()]
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError('write "tmu", or {name = "tmu", parameter = value}')
    given = {name: value for name, value in entry.items() if name != "name"}
    if dates := [name for name, value in given.items() if holds_date(value)]:
        raise UserError(f"{dates[0]} holds a date or a time: write it as text")
    choices = [value if isinstance(value, list) else [value] for value in given.values()]
    if [] in choices:
        raise UserError(f"{list(given)[choices.index([])]} has no value")
    variants = [dict(zip(given, c, strict=True)) for c in itertools.product(*choices)]
    return entry["name"], [_choice(variant) for variant in variants]


def _choice(values: Mapping[str, Any]) -> Choice:
    preset = values.get("preset", "")
    if not isinstance(preset, str):
        raise UserError(f"preset {preset!r} is no name and no file")
    return choose(preset, {name: value for name, value in values.items() if name != "preset"})


def _place(placed: GridCell) -> tuple[str, str, str, str, int]:
    loaded, cell = placed
    return loaded.task.id, cell.case.id, cell.method.name, digest(cell.parameters), cell.seed


def _parse(raw: dict[str, Any]) -> tuple[_Grid, list[str]]:
    """The file, without the keys that are wrong in form, and what is wrong about those."""
    mistakes = [f"{name}: name at least one" for name in ("tasks", "methods") if not raw.get(name)]
    try:
        return _Grid.model_validate(raw), mistakes
    except ValidationError as error:
        for item in error.errors():
            where, reason = ".".join(map(str, item["loc"])), item["msg"]
            if item["type"] == "extra_forbidden":
                reason = f"unknown key{did_you_mean(where, _Grid.model_fields)}"
            mistakes.append(f"{where}: {reason}")
        wrong = {item["loc"][0] for item in error.errors()}
    return _Grid.model_validate({k: v for k, v in raw.items() if k not in wrong}), mistakes


@contextmanager
def _noting(mistakes: list[str], where: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        mistakes += [f"{where}: {line.strip()}" for line in str(error).splitlines()]


def _repeats(where: str, values: Sequence[Hashable]) -> list[str]:
    return [f"{where}: {value} twice" for value, count in Counter(values).items() if count > 1]
