"""Measuring published records again, to see whether the code gives what they say.

Which records are measured again follows from a text that nobody knew when the records were made,
such as the name of the commit that merged them. So neither side picks them, and whoever knows the
text can repeat the choice.

Other processors round otherwise, and training magnifies that, so a rerun is no copy. A rerun must
agree as far as golds agree among themselves and the samples can tell, and cost about the same.
"""

import ast
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mubench._util.arrays import Floats
from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench.gold.library import GoldLibrary
from mubench.method.discovery import slug
from mubench.method.presets import Choice
from mubench.record.check import Checked
from mubench.record.folder import MOST_TEXT_BYTES, SOURCE, ResultsFolder, read_file
from mubench.record.readout import Arrays, read_arrays
from mubench.record.schema import Record
from mubench.record.stacked import StackedReadouts, leave_one_out, per_sample

from .cell import Cell, measure
from .isolation.host import Described, Isolation

COST_RATIO = 1.5
"""Most by which the epochs-equivalent may differ, because a method may stop when it is
satisfied."""


@dataclass(frozen=True)
class Remeasured:
    """A record measured once more."""

    record: Record
    """The record of the second measurement."""
    differences: tuple[str, ...]
    """What did not come out the same, a line each."""


def choose(checked: Sequence[Checked], count: int, chosen_by: str) -> list[Checked]:
    """Records to be measured again, spread over entries, and over the cases of each task.

    Only the file names of the records count, and these follow from what was to be measured. So
    nobody can try contents until a record is passed over.

    Args:
        checked: the records to choose from.
        count: how many to choose.
        chosen_by: a text that nobody knew when the records were made.
    """
    rest = sorted(checked, key=lambda one: digest([chosen_by, one.file]))
    entries: Counter[tuple[str, str, str]] = Counter()
    cases: Counter[tuple[str, str]] = Counter()
    chosen: list[Checked] = []

    def entry(one: Checked) -> tuple[str, str, str]:
        return one.record.task, one.record.method, one.record.parameters_id

    def case(one: Checked) -> tuple[str, str]:
        return one.record.task, one.record.case

    while rest and len(chosen) < count:
        best = min(rest, key=lambda one: (entries[entry(one)], cases[case(one)]))
        rest.remove(best)
        entries[entry(best)] += 1
        cases[case(best)] += 1
        chosen.append(best)
    return chosen


def remeasure(
    results: Path, record: Record, library: GoldLibrary, isolation: Isolation
) -> Remeasured:
    """Runs a record's method once more and compares.

    Args:
        results: folder of the record, of its readout and of its golds' readouts.
        record: a record that holds.
        library: the record's task and its models; the original and the golds must be cached.
        isolation: where the method runs.

    Raises:
        UserError: the method that was measured is not here.
    """
    published = ResultsFolder(results)
    with tempfile.TemporaryDirectory() as name:
        folder = ResultsFolder(Path(name))
        new = measure_published(published, record, library, isolation, folder)
        if new.status != record.status:
            because = f" ({new.error})" if new.error else ""
            line = f"ends as {new.status}{because}, not {record.status}"
            return Remeasured(new, (line,))
        if new.status != "ok":
            return Remeasured(new, ())
        fresh = _arrays(folder.readout(new))
    old = _arrays(published.readout(record))
    golds = StackedReadouts.of([_arrays(path) for path in published.golds(record)])
    differences = list(_differences(old, fresh, golds))
    assert record.cost and new.cost
    old_cost, new_cost = record.cost.epochs_equivalent, new.cost.epochs_equivalent
    if max(old_cost, new_cost) > COST_RATIO * min(old_cost, new_cost):
        differences.append(f"epochs_equivalent is {new_cost:.2f}, stated {old_cost:.2f}")
    return Remeasured(new, tuple(differences))


def measure_published(
    published: ResultsFolder,
    record: Record,
    library: GoldLibrary,
    isolation: Isolation,
    to: ResultsFolder,
) -> Record:
    """Runs the method of a published record, with its parameters and its seed.

    Args:
        published: the folder of the record.
        record: a record that holds.
        library: a task with the record's case; the original and the golds must be cached.
        isolation: where the method runs.
        to: where the new record goes.

    Returns:
        The new record.

    Raises:
        UserError: the method that was measured is not here.
    """
    reference = _reference(published, record, to.root)
    (method,) = isolation.describe(reference, [Choice(record.parameters)])
    _check_code(record, method)
    cell = Cell(library.loaded.case(record.case), method, None, record.seed)
    return measure(library, cell, to, again=True, isolation=isolation).record


def _arrays(path: Path) -> Arrays:
    return read_arrays(path.read_bytes(), path.name)


def _reference(results: ResultsFolder, record: Record, folder: Path) -> str:
    """How to name a record's method; a copy of its file, because the results are hidden from it.

    Raises:
        UserError: the file has no such method.
    """
    if record.distribution:
        return record.method
    source = results.home(record) / SOURCE
    content = read_file(source, MOST_TEXT_BYTES)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(f"{source} is no Python") from None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and slug(node.name) == record.method:
            copy = folder / SOURCE
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            return f"{copy}:{node.name}"
    raise UserError(f"{source} has no class that is called {record.method}")


def _check_code(record: Record, method: Described) -> None:
    if method.code != record.code:
        home = ResultsFolder.file(record).rpartition("/")[0]
        raise UserError(
            f"{record.method} is {method.distribution} {method.distribution_version} here and not "
            f"the code that was measured: install {home}/requirements.txt"
        )


def _differences(old: Arrays, new: Arrays, golds: StackedReadouts) -> Iterator[str]:
    before, after = (_samples(StackedReadouts.of([arrays]), golds) for arrays in (old, new))
    spread: dict[str, float] = dict.fromkeys(before, 0.0)
    if len(golds) > 1:
        rows = leave_one_out(range(len(golds)))
        among = [_samples(golds[[row]], golds[others]) for row, others in rows]
        for name in spread:
            means = [values[name].mean() for values in among]
            spread[name] = float(max(means) - min(means))
    for name, values in after.items():
        change = values - before[name]
        stderr = float(np.std(change, ddof=1)) / len(change) ** 0.5 if len(change) > 1 else 0.0
        allowed = 2 * stderr + spread[name]
        if abs(change.mean()) > allowed:
            yield (
                f"{name} is {values.mean():.3f}, stated {before[name].mean():.3f}: {allowed:.3f} "
                "apart would be within the noise"
            )


def _samples(model: StackedReadouts, golds: StackedReadouts) -> dict[str, Floats]:
    """The metrics by which a rerun is compared sample by sample: name to values, (N,) or (M,)."""
    sampled = per_sample(model, golds)
    return {
        "forget_accuracy": model.right_RN[0].astype(np.float64),
        "test_accuracy": model.test_right_RM[0].astype(np.float64),
        "activation_distance": sampled["activation_distance"][0],
        "label_accuracy": sampled["label_accuracy"][0],
    }
