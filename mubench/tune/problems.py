"""Problems whose gold is known, and none of which is scored: what parameters are tuned on.

A *twin problem* has the original M_t and the forget set D_t. M_t is the original M_o after it has
learned held-out images D_t. Retraining without D_t gives an original, so originals are its golds:
those of other seeds, as a gold begins anew, or M_o itself where there are no others. M_o is nearer
to M_t than any retrained model, so against M_o alone, whatever changes little looks good.

A *tuning case* is a case of the task with another draw of its forget set. Its golds are trained for
the tuning alone. A whole class has no other draw, so there a tuning case is another class. There is
no twin of a whole class either, because originals know the class from other images.

Both are problems of `tuning_task`, which differs from the scored task in its draw or its classes.
So no gold of a scored case has a name here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mubench._util.arrays import Bools, Floats, Logits
from mubench._util.cache import Content
from mubench._util.errors import UserError
from mubench._util.hashing import derive_seed, digest, sha256_of
from mubench.gold.identity import ModelRef
from mubench.gold.library import WEIGHTS, GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.record.schema import retrain_epochs_equivalent
from mubench.record.stacked import margins
from mubench.task.data import Samples
from mubench.task.spec import Case, Task
from mubench.training import loop
from mubench.training.networks import contiguous_tensors

TWINS = "twins"
"""Kind of the entries of twins in the cache."""
TWIN_VERSION = 1
"""Raise it when the code would make other twins."""

DRAW = 1000
"""What is added to the number of a task's draw."""
MOST_OF_CLASS = 0.5
"""Most of a class's held-out images that become D_t. The method gets the rest."""
REPLAY_SHARE = 0.05
"""Share of D that a twin sees beside D_t. On D_t alone it would forget the rest."""
LEAST_REPLAY = 4
"""The replay is at least so many times |D_t|."""
MOST_REPEATS = 5
"""Most visits to D_t in an epoch of a twin, where the replay is at least twice as much."""
MOST_EPOCHS = 20
"""Epochs after which a twin is taken as it is."""
LR_SHARE = 0.1
"""Rate of a twin's training, as a share of the recipe's highest."""


@dataclass(frozen=True)
class TuningProblem:
    """One problem to tune on. It can be pickled."""

    kind: Literal["twin", "case"]
    case: Case
    """The tuning case, or the case whose class mix and size D_t has."""
    seed: int
    """Chooses the original, D_t, and the random choices of the method."""
    gold_seeds: tuple[int, ...] = ()
    """Of a twin: the seeds of the originals that are its golds. Empty: M_o is."""

    @property
    def label(self) -> str:
        """What to call the problem in a line."""
        return f"{self.kind} {self.case.id}"


@dataclass(frozen=True, eq=False)
class Outputs:
    """What R models say of the true classes of N samples."""

    margins_RN: Floats
    """As `record.stacked.margins`, (R, N)."""
    right_RN: Bools
    """True where a model is right, (R, N)."""

    @classmethod
    def of(cls, logits_RNK: Logits, samples: Samples) -> "Outputs":
        """From the logits of R models, (R, N, K)."""
        labels_N = samples.labels.cpu().numpy()
        return cls(margins(logits_RNK, labels_N), logits_RNK.argmax(axis=2) == labels_N)

    @property
    def accuracy(self) -> float:
        """Fraction right, mean over models."""
        return float(self.right_RN.mean())


@dataclass(frozen=True, eq=False)
class KnownProblem:
    """A problem with what is known of it."""

    start: nn.Module
    """The model that the method starts from."""
    forget: Samples
    retain: Samples
    holdout: Samples
    """Held-out samples for the method, without D_t."""
    golds: Outputs
    """Of the golds on the forget set."""
    making_epochs: float
    """What making the problem cost, in epochs-equivalent."""


def tuning_task(task: Task, golds: int, seed: int, class_names: Sequence[str] = ()) -> Task:
    """The task with other forget sets, none of which is scored.

    Args:
        task: the scored task.
        golds: golds of each tuning case.
        seed: another seed draws other forget sets.
        class_names: the classes of the data set, in label order; asked for by whole classes only.

    Raises:
        UserError: the task forgets whole classes, and scores them all.
    """
    update: dict[str, object] = {"draw": DRAW + task.forget.draw + seed}
    if task.forget.kind == "class":
        scored = {case.class_name for case in task.cases(class_names)}
        update = {"classes": tuple(name for name in class_names if name not in scored)}
        if not update["classes"]:
            raise UserError(f"{task.id} scores every class, and leaves none to tune on")
    forget = task.forget.model_copy(update=update)
    measure = task.measure.model_copy(update={"golds": golds})
    return task.model_copy(update={"forget": forget, "measure": measure})


def choose_problems(
    loaded: LoadedTask,
    kind: Literal["twin", "case"],
    count: int,
    seed: int,
    golds: int | None = None,
) -> list[TuningProblem]:
    """Problems on different cases, drawn at random.

    Args:
        loaded: the tuning task.
        kind: of the problems.
        count: how many; the task may have fewer cases.
        seed: chooses the cases.
        golds: originals that are the golds of a twin; 0: M_o alone. None: all other originals of
            the task.

    Raises:
        UserError: twins are asked for, and the task forgets whole classes.
    """
    if kind == "twin" and loaded.task.forget.kind == "class":
        raise UserError(
            f"{loaded.task.id} forgets whole classes, and a twin forgets images of a class that "
            "stays: tune on classes that are not scored (--on cases)"
        )
    generator = np.random.default_rng(derive_seed("tuning problems", seed))
    order = generator.permutation(len(loaded.cases))[:count].tolist()
    wanted = loaded.task.measure.originals - 1 if golds is None else golds
    problems = []
    for case in (loaded.cases[position] for position in order):
        start = loaded.original(case, seed).seed
        others = [one for one in range(wanted + 1) if one != start][:wanted]
        problems.append(TuningProblem(kind, case, seed, tuple(others) if kind == "twin" else ()))
    return problems


def originals_of(loaded: LoadedTask, problem: TuningProblem) -> list[ModelRef]:
    """The originals that a problem needs: the one that is started from, then a twin's golds."""
    start = loaded.original(problem.case, problem.seed)
    return [start, *(loaded.ref(seed, None) for seed in problem.gold_seeds)]


def prepare(library: GoldLibrary, problem: TuningProblem) -> KnownProblem:
    """A problem with all that is known of it; its original and its golds must be cached.

    Args:
        library: the tuning task and its models.
        problem: which.
    """
    loaded, case = library.loaded, problem.case
    original = library.model(loaded.original(case, problem.seed))
    if problem.kind == "case":
        forget, retain = loaded.split(case)
        logits_GNK = np.stack([one.readout.forget_logits_NK for one in library.readouts(case)])
        cost = loaded.task.measure.golds * retrain_epochs_equivalent(
            loaded.task.train.epochs, len(retain), len(loaded.train)
        )
        golds = Outputs.of(logits_GNK, forget)
        return KnownProblem(original, forget, retain, loaded.holdout, golds, cost)
    is_part_N = _twin_part(loaded, case, problem.seed)
    part, rest = loaded.holdout[is_part_N], loaded.holdout[~is_part_N]
    twin, cost = _twin(library, problem, original, part)
    others = [library.model(ref) for ref in originals_of(loaded, problem)[1:]] or [original]
    logits_GNK = np.stack([_logits(loaded, one, part) for one in others])
    return KnownProblem(twin, part, loaded.train, rest, Outputs.of(logits_GNK, part), cost)


def outputs_of(loaded: LoadedTask, model: nn.Module, samples: Samples) -> Outputs:
    """The outputs of one model."""
    return Outputs.of(_logits(loaded, model, samples)[None], samples)


def _logits(loaded: LoadedTask, model: nn.Module, samples: Samples) -> Logits:
    logits_NK: Logits = loop.predict(model, samples, loaded.pipeline).cpu().numpy()
    return logits_NK


def _twin_part(loaded: LoadedTask, case: Case, seed: int) -> Tensor:
    """Marks D_t among the held-out samples: of the classes of D_f, and as many of each if possible.

    Args:
        loaded: the tuning task.
        case: whose D_f.
        seed: of the draw.

    Raises:
        UserError: there are too few held-out samples of these classes.
    """
    forget, _ = loaded.split(case)
    labels_N = loaded.holdout.labels.cpu()
    generator = torch.Generator().manual_seed(derive_seed("twin part", case.id, seed))
    is_part_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for label, wanted in enumerate(torch.bincount(forget.labels.cpu()).tolist()):
        own = (labels_N == label).nonzero().flatten()
        count = min(wanted, int(MOST_OF_CLASS * len(own)))
        is_part_N[own[torch.randperm(len(own), generator=generator)[:count]]] = True
    if not is_part_N.any():
        raise UserError(
            f"there are too few held-out images for a twin of {case.id}: tune on other draws "
            "(--on cases)"
        )
    return is_part_N.to(loaded.device)


def _twin(
    library: GoldLibrary, problem: TuningProblem, original: nn.Module, part: Samples
) -> tuple[nn.Module, float]:
    """M_t, from the cache or made anew, and what making it cost in epochs-equivalent."""
    loaded = library.loaded
    identity = {
        "version": TWIN_VERSION,
        "original": loaded.original(problem.case, problem.seed).identity,
        "like": loaded.forget_sha256(problem.case),
        "part": sha256_of(part.images.cpu().numpy().tobytes()),
        "seed": problem.seed,
    }

    def make() -> Content:
        weights, log, cost = _make_twin(loaded, problem, original, part)
        provenance = {"identity": identity, "epochs": log, "epochs_equivalent": cost}
        return {WEIGHTS: safetensors.torch.save(weights)}, provenance

    entry = library.store.made(TWINS, digest(identity), make, problem.label)
    model = loaded.fresh(0)
    model.load_state_dict(safetensors.torch.load(entry.content(WEIGHTS)))
    twin = model.to(memory_format=torch.channels_last).eval()
    return twin, float(entry.provenance["epochs_equivalent"])


def _make_twin(
    loaded: LoadedTask, problem: TuningProblem, original: nn.Module, part: Samples
) -> tuple[dict[str, Tensor], int, float]:
    """Trains M_o on D_t and replay until it knows D_t as well as M_o knows D_f.

    Returns:
        The weights, the epochs, and the cost in epochs-equivalent.
    """
    model = loaded.fresh(0)
    model.load_state_dict(original.state_dict())
    train, (forget, _) = loaded.train, loaded.split(problem.case)
    wanted = outputs_of(loaded, original, forget)
    count = min(max(round(REPLAY_SHARE * len(train)), LEAST_REPLAY * len(part)), len(train))
    seed = derive_seed("twin", problem.case.id, problem.seed)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:count]
    repeats = max(1, min(MOST_REPEATS, count // (2 * len(part))))
    repeated = part[torch.arange(len(part), device=loaded.device).repeat(repeats)]
    samples = repeated + train[chosen.to(loaded.device)]
    recipe = loaded.task.train
    update = {"epochs": MOST_EPOCHS, "lr": LR_SHARE * recipe.lr, "schedule": "constant"}

    def knows(_: object) -> bool:
        own = outputs_of(loaded, model, part)
        is_sure = bool(own.margins_RN.mean() >= wanted.margins_RN.mean())
        return is_sure and own.accuracy >= wanted.accuracy

    log = loop.fit(
        model, samples, recipe.model_copy(update=update), loaded.pipeline, seed=seed, on_epoch=knows
    )
    cost = len(log) * len(samples) / len(train)
    return contiguous_tensors(model.state_dict()), len(log), cost
