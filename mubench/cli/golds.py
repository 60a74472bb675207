"""`mubench gold`: building, listing, checking and sharing originals and golds."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mubench._util.cache import Store
from mubench._util.messages import say

from .loading import build_missing, load
from .options import CASE, DEVICE, TASK, examples, usage_errors

if TYPE_CHECKING:
    from mubench.gold.loaded import LoadedTask
    from mubench.task.spec import Case


@click.group()
def gold() -> None:
    """Builds, lists, checks and shares originals and golds."""


def _cases(loaded: "LoadedTask", case_ids: tuple[str, ...]) -> "Sequence[Case]":
    with usage_errors():
        return [loaded.case(case_id) for case_id in case_ids] if case_ids else loaded.cases


@gold.command(epilog=examples("mubench gold build --task cifar10-subset --case cat-100"))
@TASK
@CASE
@DEVICE
def build(task_name: str, case_ids: tuple[str, ...], device: str) -> None:
    """Trains the original and the golds that are missing; all cases where none is named."""
    loaded = load(task_name, device)
    build_missing(loaded, Store(), _cases(loaded, case_ids))


@gold.command("list", epilog=examples("mubench gold list --task cifar10-subset"))
@TASK
def list_golds(task_name: str) -> None:
    """Shows which models of a task are cached and how good they are."""
    from tabulate import tabulate

    from mubench.gold import cached
    from mubench.record.readout import parse_readout

    loaded, store = load(task_name, "cpu"), Store()
    rows: list[list[Any]] = []
    for ref in cached.needed(loaded, loaded.cases):
        entry = store.read("models", ref.key)
        seconds = f"{entry.provenance['seconds']:.0f}" if entry else ""
        forget = test = ""
        readout = store.read("readouts", loaded.readout_key(ref)) if ref.case else None
        if readout:
            parsed = parse_readout(readout.content("readout.npz"), ref.label)
            forget = f"{100 * parsed.forget_right_N.mean():.1f}"
            test = f"{100 * parsed.test_right_M.mean():.1f}"
        state = "weights" if entry else "readout" if readout else "missing"
        rows.append([ref.label, state, seconds, forget, test, ref.key[:16]])
    headers = ["model", "cached", "seconds", "D_f acc", "test acc", "key"]
    click.echo(tabulate(rows, headers, tablefmt="simple"))


@gold.command(epilog=examples("mubench gold verify --task cifar10-subset"))
@TASK
@CASE
def verify(task_name: str, case_ids: tuple[str, ...]) -> None:
    """Audits cached models: checksums, initialisation, D_f never read, readouts follow."""
    from mubench.gold import audit, cached

    loaded, store = load(task_name, "cpu"), Store()
    checked, defects = 0, []
    for ref in cached.needed(loaded, _cases(loaded, case_ids)):
        checked += store.holds("models", ref.key)
        defects += audit.verify(loaded, store, ref)
    for defect in defects:
        click.echo(defect)
    click.echo(f"{checked} models checked, {len(defects)} defects")
    if defects:
        sys.exit(1)


@gold.command(epilog=examples("mubench gold export --task cifar10-subset golds.zip"))
@TASK
@CASE
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def export(task_name: str, case_ids: tuple[str, ...], path: Path) -> None:
    """Writes the original's weights and the golds' readouts as one file."""
    from mubench.gold.bundle import export_bundle

    loaded = load(task_name, "cpu")
    with usage_errors():
        size = export_bundle(loaded, Store(), _cases(loaded, case_ids), path)
    say(f"wrote {path}: {size / 1e6:.1f} MB")


@gold.command("import", epilog=examples("mubench gold import golds.zip"))
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(path: Path) -> None:
    """Takes a bundle into the cache, each entry checked by content."""
    with usage_errors():
        from mubench.gold.bundle import import_bundle

        num_models, num_readouts = import_bundle(Store(), path)
    say(f"took in {num_models} models and {num_readouts} readouts")
