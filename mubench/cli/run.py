"""`mubench run`: one method on one or more cases, and how the result is printed."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mubench._util.messages import counted, say

from .loading import build_missing, chosen_cases, load
from .options import CASE, DEVICE, OUT, PRESET, SETTINGS, TASK, examples, usage_errors
from .run_table import print_records

if TYPE_CHECKING:
    from tqdm import tqdm

    from mubench.run.cell import Cell, Measurement

NOT_ISOLATED = (
    "not isolated: the method can reach golds, test data, files and the harness itself, has no "
    "time limit, and its import is not timed; its records say isolated: false"
)


@click.command(
    epilog=examples(
        "mubench run --method tmu --task cifar10-subset",
        "mubench run --method ./mine.py:Mine --task digits-subset --set lr=0.05 --seed 0 --seed 1",
        "mubench run --method finetune --task cifar10-subset --cases all --format csv",
        "mubench run --method tmu --task cifar10-subset --preset paper",
    )
)
@click.option(
    "--method", "reference", required=True, help="A name, ./file.py:Class or module:Class."
)
@TASK
@CASE
@click.option("--cases", "which_cases", type=click.Choice(["first", "all"]), default="first",
              show_default=True, help="Which cases if no --case is given.")  # fmt: skip
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0,),
              show_default=True, help="Of the method; repeatable.")  # fmt: skip
@PRESET
@SETTINGS
@click.option("--format", "output", type=click.Choice(["table", "json", "csv"]), default="table",
              show_default=True, help="json: one record per line.")  # fmt: skip
@click.option("--wide", is_flag=True, help="A table of all measures, wider than 80 columns.")
@DEVICE
@OUT
@click.option("--again", is_flag=True, help="Measure even what this code has measured before.")
@click.option("--isolate/--no-isolate", default=None,
              help="Run the method in a process of its own, with limits on time and memory and "
              "no way to golds or test data.  [default: all but built-in methods]")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), metavar="N",
              help="Threads of the CPU, for each cell.  [default: 1]")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="N",
              help="Most cells at once.  [default: as many as there are cores]")  # fmt: skip
@click.option("--save-weights", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep the unlearned models there, as safetensors.")  # fmt: skip
def run(
    reference: str,
    task_name: str,
    case_ids: tuple[str, ...],
    which_cases: str,
    seeds: tuple[int, ...],
    preset: str,
    settings: tuple[str, ...],
    output: str,
    wide: bool,
    device: str,
    out: Path,
    again: bool,
    isolate: bool | None,
    threads: int | None,
    workers: int | None,
    save_weights: Path | None,
) -> None:
    """Measures a method on one or more cases of a task.

    Trains the original and the golds that are not cached yet, after saying how long that should
    take.
    """
    with usage_errors():
        from mubench.method.discovery import is_built_in
        from mubench.method.parameters import parse_settings
        from mubench.method.presets import choose
        from mubench.run.entrant import Entrant, isolation_for

        choice = choose(preset, parse_settings(settings))
        if isolate is False and not is_built_in(reference):
            say(NOT_ISOLATED)
        walls = isolation_for(reference, isolate, out)
        isolation = click.get_current_context().with_resource(walls)
        entrant = Entrant.named(reference, choice, isolation)
    library = load(task_name, device)
    loaded = library.loaded

    from mubench.run.cell import check_fits

    with usage_errors():
        check_fits(entrant.method, loaded.task)
    cases = chosen_cases(loaded, case_ids)
    if not case_ids and which_cases == "first":
        cases = cases[:1]
    build_missing(library, cases, seeds, entrant.method.requires)

    from mubench.record.folder import ResultsFolder
    from mubench.run.several import Share, measure_all

    def weights(cell: "Cell") -> Path | None:
        if not save_weights:
            return None
        name = f"{cell.method.name}-{cell.case.id}-seed{cell.seed}.safetensors"
        return save_weights.absolute() / loaded.task.name / name

    results = ResultsFolder(out)
    cells = entrant.cells(cases, seeds)
    done: dict[int, Measurement] = {}
    with usage_errors():
        share = Share.of(loaded.device, cells, threads, workers)
        say(f"{counted(len(cells), 'cell')} of {entrant.method.name}, {share.num_workers} at once")
        with clock(len(cells)) as bar:
            for cell, measured in measure_all(
                library, cells, results, share, again=again, weights=weights, isolation=isolation
            ):
                done[id(cell)] = measured
                bar.clear()
                say(f"[{len(done)}/{len(cells)}] {cell.label}{_how(measured)}")
                note = results.write_note(measured.record, measured.trace)
                if measured.record.status != "ok":
                    say(f"{cell.label}: {measured.record.status}: {measured.record.error} ({note})")
                bar.update()
    print_records(loaded, [done[id(cell)] for cell in cells], output, wide)
    say(f"records: {out / loaded.task.name / entrant.method.name}")
    if any(measured.record.status != "ok" for measured in done.values()):
        sys.exit(1)


def _how(measured: "Measurement") -> str:
    """What to say of a cell that ended, after its name."""
    record = measured.record
    if measured.reused:
        when = record.started_at
        return f": measured before by the same code, at {when}; --again measures anew"
    return f": {record.cost.seconds:.1f} s" if record.cost else ""


@contextmanager
def clock(num_cells: int) -> "Iterator[tqdm[Any]]":
    """A bar of cells whose time goes on while a method runs.

    Args:
        num_cells: how many cells there are.
    """
    from tqdm import tqdm

    form = "{desc}{n_fmt} of {total_fmt} cells |{bar}| {elapsed}"
    ended = threading.Event()
    with tqdm(total=num_cells, bar_format=form, disable=None, dynamic_ncols=True) as bar:

        def tick() -> None:
            while not ended.wait(1):
                bar.refresh()

        ticking = threading.Thread(target=tick, daemon=True)
        if not bar.disable:
            ticking.start()
        try:
            yield bar
        finally:
            ended.set()
            if not bar.disable:
                ticking.join()
