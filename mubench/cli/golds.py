"""`mubench gold`: building, listing, checking and sharing originals and golds."""

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mubench._util.cache import Store
from mubench._util.files import write_atomic
from mubench._util.messages import say

from .loading import build_missing, chosen_cases, load
from .options import CASE, DEVICE, TASK, examples, usage_errors

if TYPE_CHECKING:
    from mubench._util.statistics import MeanInterval


@click.group()
def gold() -> None:
    """Builds, lists, checks and shares originals and golds."""


@gold.command(epilog=examples("mubench gold build --task cifar10-subset --case cat-100"))
@TASK
@CASE
@DEVICE
def build(task_name: str, case_ids: tuple[str, ...], device: str) -> None:
    """Trains the originals and the golds that are missing, of the named cases or of all."""
    library = load(task_name, device)
    build_missing(library, chosen_cases(library.loaded, case_ids))


@gold.command("list", epilog=examples("mubench gold list --task cifar10-subset"))
@TASK
def list_golds(task_name: str) -> None:
    """Shows which models of a task are cached and how good they are."""
    from mubench._util.tables import plain

    library = load(task_name, "cpu")
    rows: list[list[Any]] = []
    for ref in library.needed(library.loaded.cases):
        entry = library.model_entry(ref)
        seconds = f"{entry.provenance['seconds']:.0f}" if entry else ""
        forget = test = ""
        readout = library.cached_readout(ref, ref.case) if ref.case else None
        if readout:
            forget = f"{100 * readout.readout.forget_right_N.mean():.1f}"
            test = f"{100 * readout.readout.test_right_M.mean():.1f}"
        state = "weights" if entry else "readout" if readout else "missing"
        rows.append([ref.label, state, seconds, forget, test, ref.key[:16]])
    headers = ["model", "cached", "seconds", "D_f acc", "test acc", "key"]
    click.echo(plain(rows, headers, "llrrrl"))


@gold.command(epilog=examples("mubench gold verify --task cifar10-subset"))
@TASK
@CASE
def verify(task_name: str, case_ids: tuple[str, ...]) -> None:
    """Audits cached models: checksums, initialisation, D_f never read, readouts follow."""
    from mubench.gold.audit import find_defects
    from mubench.gold.library import MODELS

    library = load(task_name, "cpu")
    checked, defects = 0, []
    for ref in library.needed(chosen_cases(library.loaded, case_ids)):
        checked += library.store.holds(MODELS, ref.key)
        defects += find_defects(library, ref)
    for defect in defects:
        click.echo(defect)
    click.echo(f"{checked} models checked, {len(defects)} defects")
    if defects:
        sys.exit(1)


@gold.command(
    epilog=examples(
        "mubench gold audit --task digits-subset",
        "mubench gold audit --task digits-subset --results results --samples samples.csv",
        "mubench gold audit --task digits-audit --results results --write",
    )
)
@TASK
@DEVICE
@click.option(
    "--results", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of records whose models are attacked too.",
)  # fmt: skip
@click.option("--write", is_flag=True,
              help="Add what the attack learns of a model to its record in RESULTS.")  # fmt: skip
@click.option(
    "--samples", type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file to write: how much golds memorise each sample.",
)  # fmt: skip
def audit(
    task_name: str, device: str, results: Path | None, write: bool, samples: Path | None
) -> None:
    """Attacks models sample by sample: can one tell that they were trained on D_f?

    The attack is a likelihood-ratio attack (LiRA) with the golds as shadow models: those of other
    cases were trained on D_f, those of the case were not. Against a retrained model, the AUROC is
    0.5, and the true positive rate at 1% false positives is 1%. With --write, `mubench plot` draws
    the ROC curves of the records.
    """
    from mubench._util.tables import plain
    from mubench.gold.lira import Auditor, leaks, write_audits

    if write and results is None:
        raise click.UsageError("--write adds to records: name their folder by --results")
    library = load(task_name, device)
    with usage_errors():
        auditor = Auditor(library)
        found = leaks(auditor, results)
        if write:
            assert results
            say(f"{write_audits(auditor, results)} records in {results} are audited")
    rows = [["golds (by calibration)", "0.500", "1.0"]]
    rows += [
        [label, _with_interval(leak.auroc, 1, 3), _with_interval(leak.tpr, 100, 1)]
        for label, leak in found.items()
    ]
    click.echo(plain(rows, ["model", "AUROC", "TPR at 1% FPR, %"], "lrr"))
    memorised = {case.id: auditor.memorisation(case) for case in library.loaded.cases}
    values = [value for values_N in memorised.values() for value in values_N]
    click.echo(
        f"\nmemorisation: golds that were trained on a sample are right on it more often by "
        f"{100 * sum(values) / len(values):.1f} points; by 50 or more on "
        f"{sum(value >= 0.5 for value in values)} of {len(values)} samples"
    )
    if samples:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", "sample", "memorisation"])
        for case, values_N in memorised.items():
            writer.writerows([case, sample, float(v)] for sample, v in enumerate(values_N))
        write_atomic(samples, text.getvalue().encode())


def _with_interval(interval: "MeanInterval", scale: float, digits: int) -> str:
    """A mean over cases with the half width of its interval.

    Args:
        interval: the mean and the half width.
        scale: factor to the printed number.
        digits: after the point.
    """
    text = f"{scale * interval.mean:.{digits}f}"
    if interval.half_width is None:
        return text
    return f"{text} ± {scale * interval.half_width:.{digits}f}"


@gold.command(epilog=examples("mubench gold export --task cifar10-subset golds.zip"))
@TASK
@CASE
@click.option("--weights/--no-weights", default=True, show_default=True,
              help="The originals' weights, which are most of the file.")  # fmt: skip
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def export(task_name: str, case_ids: tuple[str, ...], path: Path, weights: bool) -> None:
    """Writes the originals' weights and the readouts of golds as one file."""
    from mubench.gold.bundle import export_bundle

    library = load(task_name, "cpu")
    cases = chosen_cases(library.loaded, case_ids)
    with usage_errors():
        size = export_bundle(library, cases, path, weights=weights)
    say(f"wrote {path}: {size / 1e6:.1f} MB")


@gold.command(
    "import",
    epilog=examples("mubench gold import golds.zip", "mubench gold import leaderboard/results"),
)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def import_(path: Path) -> None:
    """Takes a bundle into the cache, or the readouts beside published records.

    Each entry is checked by content. With the readouts of its golds, a task needs no gold trained.
    """
    with usage_errors():
        if path.is_dir():
            from mubench.gold.published import import_published

            say(f"took in {import_published(Store(), path)} readouts")
            return
        from mubench.gold.bundle import import_bundle

        num_models, num_readouts = import_bundle(Store(), path)
    say(f"took in {num_models} models and {num_readouts} readouts")
