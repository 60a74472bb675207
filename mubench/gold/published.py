"""Taking in the readouts that lie beside published records, so that no gold has to be trained.

A readout is believed as far as the records are: its hash is the one that a record states, every
number of that record follows from it, and its key follows from what the record says of the model.
"""

from collections.abc import Iterator
from pathlib import Path

from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder, read_file
from mubench.record.schema import UPDATE_LOG, Record
from mubench.task.installed import installed_tasks
from mubench.task.spec import Task

from .identity import identity, readout_key
from .library import READOUT, READOUTS


def import_published(store: Store, results: Path) -> int:
    """Takes the readouts of golds and originals of a folder of records into the cache.

    Args:
        store: the cache.
        results: a folder of records, such as a published one.

    Returns:
        How many readouts came in that were not there.

    Raises:
        UserError: the folder has no record that holds.
    """
    tasks = {task.id: task for task in installed_tasks()}
    checked = [one.record for one in read_results(results, tasks.values()).checked]
    if not any(record.golds for record in checked):
        raise UserError(f"{results} has no record that holds, so there are no readouts to take in")
    folder, num_new = ResultsFolder(results), 0
    for record in checked:
        task = tasks[record.task]
        for seed, forget_sha256, path in _readouts(folder, record):
            model = identity(task, record.data_fingerprint, forget_sha256, seed)
            num_new += _take_in(store, task, record, seed, model, path)
    return num_new


def _readouts(folder: ResultsFolder, record: Record) -> Iterator[tuple[int, str | None, Path]]:
    """Of each model that a record was scored against: its seed, its D_f, and its readout's file.

    The original of a log of updates is left out, because it can have other weights than the
    original of that seed.
    """
    for gold, path in zip(record.golds, folder.golds(record), strict=True):
        yield gold.seed, record.forget_sha256, path
    if record.nothing_readout_sha256 and UPDATE_LOG not in record.requires:
        yield record.original_seed, None, folder.original(record)


def _take_in(
    store: Store, task: Task, record: Record, seed: int, model: dict[str, object], path: Path
) -> bool:
    """Puts one readout into the cache; False if it is there, or of another model than computed."""
    known = {gold.key for gold in record.golds} | {record.original_key}
    data = task.data
    key = readout_key(model, data.name, data.holdout_share, record.forget_sha256)
    if digest(model) not in known or store.holds(READOUTS, key):
        return False
    provenance = {
        "model": model,
        "seed": seed,
        "case": record.case,
        "forget": record.forget_sha256,
        "data": data.name,
        "holdout_share": data.holdout_share,
    }
    store.write(READOUTS, key, {READOUT: read_file(path)}, provenance)
    return True
