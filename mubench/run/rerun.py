"""Measuring published records again, to see whether the code gives what they say.

Other processors round otherwise, and training magnifies that: a rerun is no copy. It must agree as
far as golds agree among themselves and the samples can tell, and cost about the same.
"""

import ast
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mubench._util.arrays import Floats
from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench._util.hashing import sha256_of
from mubench.gold.loaded import LoadedTask
from mubench.method.discovery import slug
from mubench.record import metrics
from mubench.record.check import Checked
from mubench.record.folder import SOURCE, gold_path, record_path
from mubench.record.readout import Readout, parse_readout
from mubench.record.schema import Record
from mubench.run.isolation.host import Described, Isolation

from .cell import Cell, measure

COST_RATIO = 1.5
"""Most by which the epochs-equivalent may differ: a method may stop when it is satisfied."""


def choose(results: Path, checked: Sequence[Checked], count: int) -> list[Record]:
    """Records to be measured again: by hash, so that neither side picks them."""

    def rank(item: Checked) -> str:
        return sha256_of((results / item.file).read_bytes())

    return [item.record for item in sorted(checked, key=rank)[:count]]


def remeasure(
    results: Path, record: Record, loaded: LoadedTask, store: Store, isolation: Isolation
) -> list[str]:
    """Runs a record's method once more and compares.

    Args:
        results: where the record, its readout and its golds' are.
        record: that holds.
        loaded: its task; original and golds must be cached.
        store: the cache.
        isolation: where the method runs.

    Returns:
        A line for each disagreement.

    Raises:
        UserError: the method that was measured is not here.
    """
    with tempfile.TemporaryDirectory() as folder:
        reference = _reference(results, record, Path(folder))
        (method,) = isolation.describe(reference, [record.parameters])
        _check_code(record, method)
        cell = Cell(loaded.case(record.case), method, None, record.seed)
        measured = measure(loaded, store, cell, Path(folder), again=True, isolation=isolation)
        new = measured.record
        if new.status != record.status:
            because = f" ({new.error})" if new.error else ""
            return [f"ends as {new.status}{because}, not {record.status}"]
        if new.status != "ok":
            return []
        content = measured.path.with_suffix(".npz").read_bytes()
    old_content = record_path(results, record).with_suffix(".npz").read_bytes()
    golds = [gold_path(results, record, gold) for gold in record.golds]
    assert record.cost and new.cost
    old_cost, new_cost = record.cost.epochs_equivalent, new.cost.epochs_equivalent
    differences = list(
        _differences(
            parse_readout(old_content, "the readout"),
            parse_readout(content, "the new readout"),
            [parse_readout(path.read_bytes(), path.name) for path in golds],
        )
    )
    if max(old_cost, new_cost) > COST_RATIO * min(old_cost, new_cost):
        differences.append(f"epochs_equivalent is {new_cost:.2f}, stated {old_cost:.2f}")
    return differences


def _reference(results: Path, record: Record, folder: Path) -> str:
    """How to name a record's method; a copy of its file, as the results are hidden from it."""
    if record.distribution:
        return record.method
    source = record_path(results, record).with_name(SOURCE)
    content = source.read_text(encoding="utf-8")
    for node in ast.parse(content).body:
        if isinstance(node, ast.ClassDef) and slug(node.name) == record.method:
            copy = folder / SOURCE
            copy.write_text(content, encoding="utf-8")
            return f"{copy}:{node.name}"
    raise UserError(f"{source} has no class that is called {record.method}")


def _check_code(record: Record, method: Described) -> None:
    here = (method.distribution, method.version, method.source_sha)
    if here != (record.distribution, record.distribution_version, record.source_sha256):
        home = record_path(Path(), record).parent
        raise UserError(
            f"{record.method} is {method.distribution} {method.version} here and not the code that "
            f"was measured: install {home}/requirements.txt"
        )


def _differences(old: Readout, new: Readout, golds: Sequence[Readout]) -> Iterator[str]:
    for name, values in SAMPLE_VALUES.items():
        before, after = values(old, golds), values(new, golds)
        change = after - before
        stderr = float(np.std(change, ddof=1)) / len(change) ** 0.5 if len(change) > 1 else 0.0
        among = [
            values(gold, [*golds[:i], *golds[i + 1 :]]).mean()
            for i, gold in enumerate(golds)
            if len(golds) > 1
        ]
        allowed = 2 * stderr + (max(among) - min(among) if among else 0.0)
        if abs(change.mean()) > allowed:
            yield (
                f"{name} is {after.mean():.3f}, stated {before.mean():.3f}: {allowed:.3f} apart "
                "would be within the noise"
            )


SAMPLE_VALUES: dict[str, Callable[[Readout, Sequence[Readout]], Floats]] = {
    "forget_accuracy": lambda readout, _: readout.forget_right_N.astype(np.float64),
    "test_accuracy": lambda readout, _: readout.test_right_M.astype(np.float64),
    "activation_distance": lambda readout, golds: metrics.mean_over_golds(
        [metrics.l2_distance(readout.forget_probs_NK, gold.forget_probs_NK) for gold in golds]
    ),
    "label_accuracy": lambda readout, golds: metrics.agreement(readout.forget_right_N, golds),
}
"""Metrics as a mean over samples: what a rerun is compared by, sample by sample."""
