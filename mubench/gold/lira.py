"""The per-sample audit: what a likelihood-ratio attack learns of a model, and what golds memorise.

The attack is that of Carlini et al. 2022, arXiv:2112.03570. On each sample of D_f it holds the
model's log-odds of the true class against two normal distributions: those of models that were
trained with the sample and of models that were not. The paper trains shadow models for both. Here
the golds of other cases are the first and the golds of the case the second, so none is trained. As
in the paper where shadow models are few, one variance serves for all samples of a kind. Unlike in
the paper, each model's median log-odds on the test set are subtracted first. Otherwise a model that
is less sure of everything would pass for one that has forgotten.

What the attack makes of a gold is what it makes of a model that never saw D_f. Each gold of a case
is left out of the fit once, and then both that gold and the model under attack are scored. So a
model that retraining could have given has an AUROC of 0.5 and a true positive rate of 1% at 1%
false positives, however few the golds are. No original takes part in a fit.

Suffixes: G golds, U samples of the union, N samples of one D_f, J left-out golds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mubench._util.arrays import Bools, Floats, Ints
from mubench._util.errors import UserError
from mubench._util.statistics import MeanInterval, mean_interval
from mubench.record.check import read_results
from mubench.record.folder import readout_beside
from mubench.record.readout import Readout, compact, parse_readout
from mubench.record.schema import Record
from mubench.record.stacked import log_odds
from mubench.task.spec import Case

from .library import GoldLibrary
from .union import trained_on, union_indices, union_labels, union_logits

FPR = 0.01
"""The false positive rate at which the attack's true positive rate is told."""
LEAST_GOLDS = 3
"""Fewest golds of a case: one is left out, and the variance needs two."""


@dataclass(frozen=True)
class Normals:
    """A normal distribution per sample, fitted to few models."""

    mean_N: Floats
    """Means, (N,)."""
    std_N: Floats
    """Standard deviations of another model's value, (N,): they cover that a mean is uncertain."""

    @classmethod
    def of(cls, values_GN: Floats, counts_GN: Bools) -> "Normals":
        """Fits a mean per sample and one variance for all.

        Args:
            values_GN: one value per model and sample, (G, N).
            counts_GN: true where a value counts, (G, N): at least once per sample.
        """
        number_N = counts_GN.sum(axis=0)
        freedom = (number_N - 1).sum()
        assert number_N.min() > 0 and freedom > 0, "too few models"
        mean_N = np.where(counts_GN, values_GN, 0.0).sum(axis=0) / number_N
        squares = float((np.where(counts_GN, values_GN - mean_N, 0.0) ** 2).sum())
        variance = max(squares / float(freedom), np.finfo(np.float64).tiny)
        return cls(mean_N, np.sqrt(variance * (1 + 1 / number_N)))

    def log_density(self, values_N: Floats) -> Floats:
        """The logarithm of the density of each value, (N,), up to a constant."""
        return -np.log(self.std_N) - ((values_N - self.mean_N) / self.std_N) ** 2 / 2


def log_likelihood_ratio(values_N: Floats, models_GN: Floats, trained_GN: Bools) -> Floats:
    """How much more likely a model's values are if the model was trained on the samples, (N,).

    Args:
        values_N: log-odds of the model under attack, (N,).
        models_GN: the same of models whose training is known, (G, N).
        trained_GN: true where such a model was trained on a sample, (G, N).

    Returns:
        The logarithm of the ratio, in nats; above zero speaks for training.
    """
    trained, untrained = (Normals.of(models_GN, counts) for counts in (trained_GN, ~trained_GN))
    return trained.log_density(values_N) - untrained.log_density(values_N)


def memorisation(right_GN: Bools, trained_GN: Bools) -> Floats:
    """How much more often models are right on a sample if they were trained on it, (N,).

    Args:
        right_GN: true where a model is right, (G, N).
        trained_GN: true where a model was trained on a sample, (G, N): both kinds on each sample.

    Returns:
        A difference of shares, from -1 to 1.

    Source: Feldman and Zhang 2020, arXiv:2008.03703, equation 1.
    """
    with_N = (right_GN & trained_GN).sum(axis=0) / trained_GN.sum(axis=0)
    without_N = (right_GN & ~trained_GN).sum(axis=0) / (~trained_GN).sum(axis=0)
    memorised_N: Floats = with_N - without_N
    return memorised_N


@dataclass(frozen=True)
class Scores:
    """What the attack makes of models on one case, once per gold that is left out of the fit."""

    models_JN: Floats
    """Log-likelihood ratios of the models under attack, (J, N): all that were scored, stacked."""
    golds_JN: Floats
    """The same of the golds that are left out, (J, N)."""

    @cached_property
    def auroc(self) -> float:
        """The probability that a sample of a model has a higher score than one of a gold."""
        from sklearn.metrics import roc_auc_score  # here: a second to import

        scores = np.concatenate([self.models_JN.ravel(), self.golds_JN.ravel()])
        is_model = np.arange(len(scores)) < self.models_JN.size
        return float(roc_auc_score(is_model, scores))


@dataclass(frozen=True)
class Leak:
    """What the attack achieves against some models, over cases."""

    auroc: MeanInterval
    """Area under the ROC curve; 0.5 for retraining."""
    tpr: MeanInterval
    """Share of samples that are called members, at a threshold that calls `FPR` of golds' so."""

    @classmethod
    def of(cls, cases: Sequence[Scores]) -> "Leak":
        """The means over at least one case, with one threshold for all."""
        golds = np.concatenate([case.golds_JN.ravel() for case in cases])
        threshold = np.quantile(golds, 1 - FPR, method="higher")
        tprs = [float((case.models_JN > threshold).mean()) for case in cases]
        return cls(mean_interval([case.auroc for case in cases]), mean_interval(tprs))


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
        self.labels_U = union_labels(loaded)
        medians = [_test_median(library.readout(r, r.case).readout) for r in self.refs if r.case]
        self.log_odds_GU = log_odds(np.stack(logits), self.labels_U) - np.array(medians)[:, None]
        self.trained_GU = np.stack([trained_on(loaded, ref) for ref in self.refs])

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
        places_N = self.places(case)
        right_GU = np.stack([logits_UK.argmax(axis=1) for _, logits_UK in known]) == self.labels_U
        trained_GU = np.stack([trained_on(self.library.loaded, ref) for ref, _ in known])
        return memorisation(right_GU[:, places_N], trained_GU[:, places_N])

    def scores(self, case: Case, readouts: Sequence[Readout]) -> Scores:
        """Attacks models on their D_f.

        Args:
            case: whose D_f the models are asked about.
            readouts: of each model on the case.
        """
        places_N = self.places(case)
        own_RN = [
            log_odds(compact(one.forget_logits_NK)[None], one.forget_labels_N)[0]
            - _test_median(one)
            for one in readouts
        ]
        models, golds = [], []
        for left_out_N, models_GN, trained_GN in self._leave_one_out(case, places_N):
            models += [log_likelihood_ratio(own_N, models_GN, trained_GN) for own_N in own_RN]
            golds.append(log_likelihood_ratio(left_out_N, models_GN, trained_GN))
        return Scores(np.stack(models), np.stack(golds))

    def _leave_one_out(self, case: Case, places_N: Ints) -> Iterator[tuple[Floats, Floats, Bools]]:
        """The log-odds of each gold of a case on D_f; those of all other golds; their training."""
        for row, ref in enumerate(self.refs):
            if ref.case == case:
                log_odds_GN = self.log_odds_GU[:, places_N]
                others = np.arange(len(self.refs)) != row
                trained_GN = self.trained_GU[others][:, places_N]
                yield log_odds_GN[row], log_odds_GN[others], trained_GN


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
    read = read_results(results, [loaded.task]).checked if results else ()
    measured = [one for one in read if one.values]
    sets = Counter(method for method, _ in {_entry(one.record) for one in measured})
    for one in measured:
        method, parameters = _entry(one.record)
        label = f"{method} ({parameters})" if sets[method] > 1 else method
        assert results
        path = readout_beside(results / one.file)
        readout = parse_readout(path.read_bytes(), path.name)
        models[label][loaded.case(one.record.case)].append(readout)
    return {
        label: Leak.of([auditor.scores(case, readouts) for case, readouts in by_case.items()])
        for label, by_case in models.items()
    }


def _test_median(readout: Readout) -> float:
    """The median log-odds of the true class on the test set, in nats."""
    logits_1MK, labels_M = compact(readout.test_logits_MK)[None], readout.test_labels_M
    return float(np.median(log_odds(logits_1MK, labels_M)))


def _entry(record: Record) -> tuple[str, str]:
    return record.method, record.parameters_id
