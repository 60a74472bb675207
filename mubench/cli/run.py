"""`mubench run`: one method on one or more cases, and how the result is printed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mubench._util.messages import say

from .loading import build_missing, chosen_cases, load
from .options import CASE, DEVICE, OUT, PRESET, SETTINGS, TASK, examples, usage_errors
from .run_table import print_records

if TYPE_CHECKING:
    from mubench.method.discovery import MethodInfo
    from mubench.run.cell import Measurement

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
    save_weights: Path | None,
) -> None:
    """Measures a method on one or more cases of a task.

    Trains the original and the golds that are not cached yet, after saying how long that should
    take.
    """
    with usage_errors():
        from mubench.method.discovery import is_built_in, load_method
        from mubench.method.parameters import parse_settings
        from mubench.method.presets import choose, configure_choice
        from mubench.run.isolation.host import Isolation

        choice = choose(preset, parse_settings(settings))
        isolation: Isolation | None = None
        method: MethodInfo
        if isolate is False and not is_built_in(reference):
            say(NOT_ISOLATED)
        if not is_built_in(reference) if isolate is None else isolate:
            isolation = click.get_current_context().with_resource(Isolation([out]))
            (method,) = isolation.describe(reference, [choice])
            own: dict[str, Any] = {"instance": None}
        else:
            method = found = load_method(reference)
            one = configure_choice(found, choice)
            own = {
                "instance": one.instance,
                "preset": one.preset,
                "tuning_epochs": one.tuning_epochs,
            }
    library = load(task_name, device)
    loaded = library.loaded
    cases = chosen_cases(loaded, case_ids)
    if not case_ids and which_cases == "first":
        cases = cases[:1]
    build_missing(library, cases, seeds)

    from mubench.record.folder import ResultsFolder
    from mubench.run.cell import Cell, measure

    results = ResultsFolder(out)
    done: list[Measurement] = []
    cells = [Cell(case=case, method=method, seed=seed, **own) for case in cases for seed in seeds]
    for number, cell in enumerate(cells, 1):
        say(f"[{number}/{len(cells)}] {cell.label}")
        weights = None
        if save_weights:
            name = f"{cell.method.name}-{cell.case.id}-seed{cell.seed}.safetensors"
            weights = save_weights.absolute() / loaded.task.name / name
        measured = measure(
            library, cell, results, again=again, save_weights=weights, isolation=isolation
        )
        done.append(measured)
        if measured.reused:
            when = measured.record.started_at
            say(f"measured before by the same code, at {when}; --again measures anew")
        note = results.write_note(measured.record, measured.trace)
        if measured.record.status != "ok":
            say(f"{cell.label}: {measured.record.status}: {measured.record.error} ({note})")
    print_records(loaded, done, output, wide)
    say(f"records: {out / loaded.task.name / method.name}")
    if any(measured.record.status != "ok" for measured in done):
        sys.exit(1)
