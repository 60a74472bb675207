"""The per-sample audit: the golds of a task as shadow models, and what they learn of models.

`mubench.record.audit.lira` has the attack. Here the golds of a library are asked about the union of
the forget sets, and originals and the models of records are attacked.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mubench._util.arrays import Floats, Ints
from mubench._util.errors import UserError
from mubench._util.files import write_atomic
from mubench._util.hashing import sha256_of
from mubench.record.audit.lira import Leak, Scores, centred_log_odds, median_log_odds, memorisation
from mubench.record.audit.shadows import LEAST_GOLDS, Shadows, parse_shadows, shadows_bytes, summary
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder, read_file
from mubench.record.readout import Readout, parse_readout
from mubench.record.schema import Record
from mubench.record.stacked import log_odds
from mubench.task.spec import Case

from .library import GoldLibrary
from .union import trained_on, union_indices, union_labels, union_logits


class Auditor:
    """The golds of a task on the union of its forget sets, ready to audit models."""

    def __init__(self, library: GoldLibrary):
        """Takes the golds' union readouts, and makes those that are missing from weights.

        Args:
            library: the task with its golds.

        Raises:
            UserError: golds are missing, were imported without weights, or are too few.
        """
        loaded = library.loaded
        self.library = library
        self.refs = [ref for case in loaded.cases for ref in loaded.golds(case)]
        if loaded.task.measure.golds < LEAST_GOLDS or len(loaded.cases) < 2:
            raise UserError(
                f"the audit of {loaded.task.id} needs two cases and {LEAST_GOLDS} golds per case"
            )
        read = [union_logits(library, ref) for ref in self.refs]
        logits = [logits_UK for logits_UK in read if logits_UK is not None]
        if len(logits) < len(self.refs):
            absent = len(self.refs) - len(logits)
            raise UserError(
                f"{absent} golds of {loaded.task.id} are not trained here, so what they say of "
                "other forget sets is unknown: build all golds, in an empty cache if need be "
                f"(`MUBENCH_CACHE=FOLDER mubench gold build --task {loaded.task.name}`)"
            )
        log_odds_GU = log_odds(np.stack(logits), union_labels(loaded))
        for row, ref in enumerate(self.refs):
            assert ref.case
            readout = library.readout(ref, ref.case).readout
            log_odds_GU[row] -= median_log_odds(readout)
            # The readout beside the records is what readers hold this against.
            log_odds_GU[row, self.places(ref.case)] = centred_log_odds(readout)
        keys = tuple(ref.key for ref in self.refs)
        trained_GU = np.stack([trained_on(loaded, ref) for ref in self.refs])
        self.content = shadows_bytes(Shadows(keys, log_odds_GU, trained_GU))
        """The shadow models as npz."""
        self.shadows = parse_shadows(self.content, "the audit")
        """The shadow models, as a reader of the npz gets them."""

    def places(self, case: Case) -> Ints:
        """Places in the union of the samples of a D_f, in D_f order, (N,)."""
        loaded = self.library.loaded
        places_N: Ints = np.searchsorted(union_indices(loaded), loaded.forget_indices(case))
        return places_N

    def memorisation(self, case: Case) -> Floats:
        """How much golds and originals memorise each sample of a D_f, (N,): see `memorisation`."""
        refs = [*self.library.loaded.originals, *self.refs]
        read = [(ref, union_logits(self.library, ref)) for ref in refs]
        known = [(ref, logits_UK) for ref, logits_UK in read if logits_UK is not None]
        places_N, labels_U = self.places(case), union_labels(self.library.loaded)
        right_GU = np.stack([logits_UK.argmax(axis=1) for _, logits_UK in known]) == labels_U
        trained_GU = np.stack([trained_on(self.library.loaded, ref) for ref, _ in known])
        return memorisation(right_GU[:, places_N], trained_GU[:, places_N])

    def scores(self, case: Case, readouts: Sequence[Readout]) -> Scores:
        """Attacks models on their D_f.

        Args:
            case: whose D_f the models are asked about.
            readouts: of each model on the case.
        """
        keys = [ref.key for ref in self.library.loaded.golds(case)]
        return self.shadows.scores(np.stack([centred_log_odds(one) for one in readouts]), keys)


def leaks(auditor: Auditor, results: Path | None) -> dict[str, Leak]:
    """What the attack learns of the originals and of the models of records.

    Args:
        auditor: of the task.
        results: a folder of records. None: the originals alone.

    Returns:
        `originals`, then each method's name, with its parameters in eight letters where it has
        several sets, to what the attack achieves over the cases that were measured.

    Raises:
        UserError: there is no such folder.
    """
    library, loaded = auditor.library, auditor.library.loaded
    models: dict[str, dict[Case, list[Readout]]] = defaultdict(lambda: defaultdict(list))
    for case in loaded.cases:
        for ref in loaded.originals:
            if library.model_entry(ref) or library.cached_readout(ref, case):
                models["originals"][case].append(library.readout(ref, case).readout)
    measured = _measured(auditor, results) if results else []
    sets = Counter(method for method, _ in {_entry(record) for record, _ in measured})
    for record, readout in measured:
        method, parameters = _entry(record)
        label = f"{method} ({parameters})" if sets[method] > 1 else method
        models[label][loaded.case(record.case)].append(readout)
    return {
        label: Leak.of([auditor.scores(case, readouts) for case, readouts in by_case.items()])
        for label, by_case in models.items()
    }


def write_audits(auditor: Auditor, results: Path) -> int:
    """Adds to each record of a task what the attack learns of its model; all else stays.

    Args:
        auditor: of the task.
        results: a folder of records.

    Returns:
        How many records were audited.

    Raises:
        UserError: there is no such folder, or a record was scored against other golds. Then no
            record was changed.
    """
    folder, sha256 = ResultsFolder(results), sha256_of(auditor.content)
    measured = _measured(auditor, results)
    library = auditor.library
    here = {library.readout(ref, ref.case).sha256 for ref in auditor.refs if ref.case}
    for record, _ in measured:
        if not {gold.readout_sha256 for gold in record.golds} <= here:
            raise UserError(
                f"{folder.file(record)} was scored against golds that were trained elsewhere: "
                "measure it with the golds that are here"
            )
    audited = []
    for record, readout in measured:
        scores = auditor.scores(library.loaded.case(record.case), [readout])
        found = summary(auditor.shadows, sha256, scores)
        audited.append(record.model_copy(update={"audit": found}))
    for path in {folder.shadows(record) for record in audited}:  # one, which all records share
        write_atomic(path, auditor.content)
    for record in audited:
        folder.write(record, read_file(folder.readout(record)))
    return len(measured)


def _measured(auditor: Auditor, results: Path) -> list[tuple[Record, Readout]]:
    """The records of a task that hold and succeeded, with their readouts."""
    folder = ResultsFolder(results)
    checked = read_results(results, [auditor.library.loaded.task]).checked
    records = [one.record for one in checked if one.values]
    paths = [folder.readout(record) for record in records]
    readouts = [parse_readout(read_file(path), path.name) for path in paths]
    return list(zip(records, readouts, strict=True))


def _entry(record: Record) -> tuple[str, str]:
    return record.method, record.parameters_id
