"""Golds as shadow models: what all golds of a task say of all its forget sets, as one file.

    <task name>/shadows/<sha256>.npz

A gold's readout says what the gold makes of its own D_f. The audit also asks golds of samples that
they were trained on, and no readout tells that. So a record that was audited names this file by its
hash, and `check_audit` computes the record's numbers again from the file and the readout.

Suffixes: G golds, U samples of the union of the forget sets, R models under attack, N samples of
one D_f, J left-out golds.
"""

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mubench._util.arrays import Bools, Floats, Ints
from mubench._util.errors import DoesNotHold
from mubench._util.hashing import sha256_of
from mubench.record.folder import ResultsFolder, read_file
from mubench.record.readout import Readout, parse_readout, read_npz
from mubench.record.rules import compare
from mubench.record.schema import Audit, Record

from .lira import Scores, centred_log_odds, log_likelihood_ratio, threshold_of

ARRAYS = {"keys": (2, "u"), "log_odds": (2, "f"), "trained": (2, "u")}
"""Name of each array on disk to its number of axes and numpy's letters for its kinds of numbers."""
LEAST_GOLDS = 3
"""Fewest golds of a case: one is left out, and the variance needs two."""
LEAST_TRAINED = 2
"""Fewest golds that were trained on a sample, because the variance needs two."""
ROUNDING = 1e-5
"""Log-odds may differ by so much from those of a gold's readout, as they are kept as float32."""


@dataclass(frozen=True, eq=False)
class Shadows:
    """The golds of a task on the union of its forget sets.

    Raises:
        DoesNotHold: shapes disagree, a number is not finite, or golds are too few.
    """

    keys_G: tuple[str, ...]
    """Hash of everything that determines each gold's weights, (G,)."""
    log_odds_GU: Floats
    """Log-odds of the true class less the gold's median on the test set, (G, U), in nats."""
    trained_GU: Bools
    """True where a gold was trained on a sample, (G, U). The others are the gold's D_f."""

    def __post_init__(self) -> None:
        shape = self.log_odds_GU.shape
        if self.trained_GU.shape != shape or len(self.keys_G) != shape[0] or not all(shape):
            raise DoesNotHold("its shapes disagree")
        if not np.isfinite(self.log_odds_GU).all():
            raise DoesNotHold("its log-odds are not all finite")
        fewest = min(len(rows) for rows in self.rows_by_case)
        if fewest < LEAST_GOLDS or self.trained_GU.sum(axis=0).min() < LEAST_TRAINED:
            raise DoesNotHold(
                f"the audit needs {LEAST_GOLDS} golds per case, and on each sample {LEAST_TRAINED} "
                "golds that were trained on it"
            )

    @cached_property
    def rows_by_case(self) -> list[list[int]]:
        """The rows of each case's golds: those that were trained without the same samples."""
        rows: dict[bytes, list[int]] = defaultdict(list)
        for row, trained_U in enumerate(self.trained_GU):
            rows[trained_U.tobytes()].append(row)
        return list(rows.values())

    @cached_property
    def threshold(self) -> float:
        """The score that tells members from others, in nats; one for all cases."""
        return threshold_of([self._golds_JN(rows) for rows in self.rows_by_case])

    @property
    def num_nonmembers(self) -> int:
        """How many scores of left-out golds the threshold rests on."""
        return int((~self.trained_GU).sum())

    def rows(self, keys: Sequence[str]) -> list[int]:
        """The rows of a case's golds.

        Args:
            keys: of all golds of the case.

        Raises:
            DoesNotHold: the golds of no case have these keys.
        """
        for rows in self.rows_by_case:
            if sorted(self.keys_G[row] for row in rows) == sorted(keys):
                return rows
        raise DoesNotHold("its shadow models are of other golds")

    def places(self, rows: Sequence[int]) -> Ints:
        """Places in the union of the D_f that the golds of some rows lack, in D_f order, (N,)."""
        places_N: Ints = np.flatnonzero(~self.trained_GU[rows[0]])
        return places_N

    def scores(self, values_RN: Floats, keys: Sequence[str]) -> Scores:
        """Attacks models on their D_f.

        Args:
            values_RN: of each model, what `lira.centred_log_odds` gives, (R, N).
            keys: of the golds of the case.

        Raises:
            DoesNotHold: the golds of no case have these keys, or D_f has another size.
        """
        rows = self.rows(keys)
        if len(self.places(rows)) != values_RN.shape[1]:
            raise DoesNotHold("its shadow models are of another D_f")
        models = [
            log_likelihood_ratio(values_RN, models_GN, trained_GN)
            for _, models_GN, trained_GN in self._leave_one_out(rows)
        ]
        return Scores(np.concatenate(models), self._golds_JN(rows), self.threshold)

    def _golds_JN(self, rows: Sequence[int]) -> Floats:
        """What the attack makes of each gold of a case that is left out of the fit, (J, N)."""
        return np.stack([log_likelihood_ratio(*fit) for fit in self._leave_one_out(rows)])

    def _leave_one_out(self, rows: Sequence[int]) -> Iterator[tuple[Floats, Floats, Bools]]:
        """The log-odds of each gold of a case on D_f; those of all other golds; their training."""
        places_N = self.places(rows)
        log_odds_GN, trained_GN = self.log_odds_GU[:, places_N], self.trained_GU[:, places_N]
        for row in rows:
            others = np.arange(len(self.keys_G)) != row
            yield log_odds_GN[row], log_odds_GN[others], trained_GN[others]


def shadows_bytes(shadows: Shadows) -> bytes:
    """Shadow models as a compressed npz, the same bytes for the same numbers."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        keys=np.array([list(bytes.fromhex(key)) for key in shadows.keys_G], np.uint8),
        log_odds=shadows.log_odds_GU.astype(np.float32),
        trained=shadows.trained_GU.astype(np.uint8),
    )
    return buffer.getvalue()


def parse_shadows(content: bytes, source: str) -> Shadows:
    """The shadow models in an npz, with every check of `Shadows`.

    Args:
        content: an npz as `shadows_bytes` writes one.
        source: what to call the content in a message.

    Raises:
        DoesNotHold: the content is none; the message names `source`.
    """
    try:
        arrays = read_npz(content, ARRAYS)
        return Shadows(
            tuple(bytes(key.astype(np.uint8)).hex() for key in arrays["keys"]),
            arrays["log_odds"].astype(np.float64),
            arrays["trained"].astype(np.bool_),
        )
    except DoesNotHold as error:
        raise DoesNotHold(f"{source} holds no shadow models: {error}") from None


def summary(shadows: Shadows, sha256: str, scores: Scores) -> Audit:
    """What a record states of the attack on one model.

    Args:
        shadows: the golds of the task.
        sha256: of the file of the shadow models.
        scores: of the model.
    """
    num_golds, num_members = scores.golds_JN.shape
    return Audit(
        auroc=scores.auroc,
        tpr_at_1pct_fpr=scores.tpr,
        members=num_members,
        nonmembers=num_golds * num_members,
        threshold_nonmembers=shadows.num_nonmembers,
        models=len(shadows.keys_G),
        shadows_sha256=sha256,
    )


def read_shadows(results: ResultsFolder, record: Record) -> Shadows:
    """The shadow models that a record was audited with.

    Args:
        results: the folder of the record.
        record: a record with an audit.

    Raises:
        DoesNotHold: the file is missing, is another than the record states, or is none.
    """
    assert record.audit
    path = results.shadows(record)
    if not path.exists():
        raise DoesNotHold(f"its shadow models {path.name} are missing")
    content = read_file(path)
    if sha256_of(content) != record.audit.shadows_sha256:
        raise DoesNotHold(f"it was audited with other shadow models than {path.name} here")
    return _parse_again(content, path.name)


@lru_cache(maxsize=4)
def _parse_again(content: bytes, source: str) -> Shadows:
    """The shadow models that all records of a task have in common, parsed once."""
    return parse_shadows(content, source)


def check_audit(results: ResultsFolder, record: Record, golds: Sequence[Readout]) -> Scores:
    """What the attack makes of a record's model, computed again.

    The shadow models of the record's own case must say what the readouts of the case's golds say.
    What golds of other cases say of D_f is as stated.

    Args:
        results: the folder of the record.
        record: a record with an audit.
        golds: readouts of the record's golds, in the record's order.

    Raises:
        DoesNotHold: the shadow models are missing or are not the record's golds, or a number does
            not follow from them.
    """
    assert record.audit
    shadows, keys = read_shadows(results, record), [gold.key for gold in record.golds]
    places_N = shadows.places(shadows.rows(keys))
    for key, gold in zip(keys, golds, strict=True):
        stated_N = shadows.log_odds_GU[shadows.keys_G.index(key)][places_N]
        computed_N = centred_log_odds(gold)
        if not (
            stated_N.shape == computed_N.shape
            and np.allclose(stated_N, computed_N, rtol=ROUNDING, atol=ROUNDING)
        ):
            raise DoesNotHold(f"its shadow models belie the readout of gold {key[:16]}")
    path = results.readout(record)
    readout = parse_readout(read_file(path), path.name)
    scores = shadows.scores(centred_log_odds(readout)[None], keys)
    again = summary(shadows, record.audit.shadows_sha256, scores)
    for name in Audit.model_fields.keys() - {"shadows_sha256"}:  # which the file was found by
        compare(f"audit {name}", getattr(record.audit, name), getattr(again, name))
    return scores
