"""The Python door: measuring from a notebook or a script as `mubench run` does.

Nothing here ends the process or leaves global state behind. Progress goes to stderr.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench.gold.build import build_missing
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.method.access import UPDATE_LOG
from mubench.method.discovery import method_of
from mubench.method.presets import choose
from mubench.method.problem import Method
from mubench.record.folder import ResultsFolder
from mubench.record.schema import Record
from mubench.task.installed import load_task
from mubench.task.spec import Case, Task

from .cell import check_fits
from .entrant import Entrant, isolation_for
from .isolation.host import Isolation
from .machine import pick_device
from .several import Share, measure_all


def measure(
    method: str | Method,
    task: str | Task,
    *,
    cases: str | Sequence[str] = "first",
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    preset: str = "",
    results: str | Path = "results",
    device: str = "auto",
    isolate: bool | None = None,
    again: bool = False,
    threads: int | None = None,
    workers: int = 1,
) -> list[Record]:
    """Measures a method on cases of a task and writes a record of each run.

    The original and the golds that are not cached are trained first, after a message that says how
    long that should take.

    Args:
        method: a method's name, `./file.py:Class`, `package.module:Class`, or an instance.
        task: a task's name, the path of its TOML file, or the task.
        cases: ids such as `cat-100`; "first" or "all".
        seeds: seeds of the method, each measured on every case.
        settings: parameters of a method that is given by name, other than their defaults.
        preset: name of a preset of such a method, or the path of a preset file; the settings go on
            top.
        results: folder of records.
        device: `cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if there is one.
        isolate: True to run the method in a process of its own, False in this one. None: in its
            own, if it is given by name and does not come with mubench. An instance is of this
            process and cannot leave it.
        again: True to measure even what the same code has measured before.
        threads: of the CPU, for each run. None: one, so that numbers do not depend on the machine.
        workers: runs at once, each in a process of its own.

    Returns:
        One record per case and seed, case by case. A run that failed has a record whose status says
        so.

    Raises:
        UserError: a name, a parameter or a case is wrong, or the method is for other tasks; the
            message says what to do.
        mubench.Diverged: the recipe of the task diverges.
    """
    folder = ResultsFolder(Path(results))
    spec = load_task(task) if isinstance(task, str) else task
    walls: AbstractContextManager[Isolation | None] = nullcontext()
    if isinstance(method, str):
        walls = isolation_for(method, isolate, folder.root)
    else:
        given = {"settings": settings, "preset": preset, "isolate": isolate}
        if option := next((name for name, value in given.items() if value), None):
            raise UserError(f"{option} needs a method that is given by name, not an instance")
    with walls as isolation:
        if isinstance(method, str):
            entrant = Entrant.named(method, choose(preset, settings or {}), isolation)
        else:
            entrant = Entrant(method_of(method), method)
        check_fits(entrant.method, spec)
        library = GoldLibrary(LoadedTask(spec, pick_device(device)), Store())
        chosen = _cases(library.loaded, cases)
        update_logs = UPDATE_LOG in entrant.method.requires
        build_missing(library, chosen, seeds, update_logs=update_logs)
        cells = entrant.cells(chosen, seeds)
        share = Share.of(library.loaded.device, cells, threads, workers)
        done = measure_all(library, cells, folder, share, again=again, isolation=isolation)
        records = {}
        with tqdm(total=len(cells), unit="cell", dynamic_ncols=True) as bar:
            for cell, measured in done:
                folder.write_note(measured.record, measured.trace)
                records[id(cell)] = measured.record
                bar.set_description(cell.label)
                bar.update()
    return [records[id(cell)] for cell in cells]


def _cases(loaded: LoadedTask, cases: str | Sequence[str]) -> Sequence[Case]:
    if cases == "all":
        return loaded.cases
    if cases == "first":
        return loaded.cases[:1]
    return [loaded.case(case_id) for case_id in ([cases] if isinstance(cases, str) else cases)]
