"""Tuning a method on a task: problems made, trials run, the best of them as a preset."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import torch

from mubench._util.cache import Store, cache_root
from mubench._util.errors import UserError
from mubench._util.hashing import digest
from mubench._util.messages import say
from mubench._util.workers import Executor, LocalExecutor, WorkerPolicy
from mubench.gold.build import build, build_missing
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask, load_once
from mubench.gold.shipped import take_shipped
from mubench.method.access import GOLD_ACCESS, UPDATE_LOG
from mubench.method.discovery import MethodClass, load_method
from mubench.record.schema import dotted
from mubench.run.cell import check_fits
from mubench.run.entrant import is_walled
from mubench.run.machine import device_name, harness_sha256
from mubench.task.spec import Task

from .agreement import Agreement, agreement
from .problems import (
    TWIN_VERSION,
    TuningProblem,
    choose_problems,
    originals_of,
    prepare,
    tuning_task,
)
from .space import nested, space_of
from .study import Limits, Outcome, Search, optuna
from .trials import InThisProcess, RunJob

TRIALS = 30
"""Trials if neither their number nor their cost is given."""
MOST_TRIALS = 1000
"""Trials if only their cost is given."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be tuned, and how."""

    reference: str
    """The method, named as for `mubench run`."""
    task: Task
    """The scored task."""
    on: Literal["twin", "cases"] = "twin"
    """What to tune on."""
    num_problems: int = 2
    """How many twins or tuning cases."""
    golds: int | None = None
    """Golds of each tuning case, by default 1; or originals that are golds of twins, by default
    the task's other ones. 0: the original that a twin was made of is its gold."""
    trials: int | None = None
    """Most trials, the default included."""
    epochs: float | None = None
    """Most epochs-equivalent of the whole search."""
    most_delta: float | None = None
    """Most that delta may be on the problems, in percentage points."""
    check: bool = False
    """True to run the trials on tuning cases too, to see whether a twin orders them alike. They are
    drawn at random and none ends early, as the order of the best says little of all."""
    seed: int = 0
    workers: int = 1
    """Trials at once, each in a process."""
    isolate: bool | None = None
    """True to run the method in a process of its own. None: all but built-in ones."""
    fixed: Mapping[str, Any]
    """Settings that no trial changes."""


@dataclass(frozen=True)
class Found:
    """What a search found."""

    method: str
    problems: Sequence[TuningProblem]
    default: Outcome
    best: Outcome
    settings: dict[str, Any]
    """The best parameters, nested; also those that are fixed."""
    tuned: dict[str, Any]
    """On what, and at what cost."""
    agreement: Agreement | None = None
    """How well the twins order the trials as tuning cases do, if that was asked for."""


def tune(request: Request, device: torch.device, on_end: Callable[[Outcome, float], None]) -> Found:
    """Looks for a method's best parameters without a gold of any scored case.

    Args:
        request: what is to be tuned.
        device: where models are.
        on_end: is told of each trial that ended, and what the search has cost by then.

    Raises:
        UserError: the method cannot be tuned, or no trial may be chosen.
        mubench.training.loop.Diverged: training an original or a gold diverges.
        mubench._util.workers.WorkerLost: a process that trained one was killed.
    """
    optuna()
    if request.on == "cases" and request.golds == 0:
        raise UserError("a tuning case needs a gold: --golds 1, or --on twin")
    if request.on == "cases" and request.check:
        raise UserError("--check compares twins with tuning cases: it needs --on twin")
    method = load_method(request.reference)
    if GOLD_ACCESS & method.requires:
        raise UserError(f"{method.name} needs golds, so it cannot be tuned without them")
    check_fits(method, request.task)
    needs_log = UPDATE_LOG in method.requires
    if needs_log and request.on == "twin":
        raise UserError(
            f"{method.name} needs a log of the original's updates, and a twin has none: tune on "
            "other draws (--on cases)"
        )
    space = space_of(method, request.fixed)
    class_names: Sequence[str] = ()
    if request.task.forget.kind == "class":  # otherwise the data need not be read twice
        class_names = load_once(request.task, device).data.class_names
    task = tuning_task(request.task, request.golds or 1, request.seed, class_names)
    loaded = load_once(task, device)
    library = GoldLibrary(loaded, Store())
    kind: Literal["twin", "case"] = "twin" if request.on == "twin" else "case"
    problems = choose_problems(loaded, kind, request.num_problems, request.seed, request.golds)
    making_epochs = _make(library, problems, update_logs=needs_log)
    key = digest(
        {
            "method": [method.name, *method.code],
            "code": [harness_sha256(), TWIN_VERSION],
            "fixed": dotted(request.fixed),
            "space": [[one.name, str(one.search), repr(one.default)] for one in space],
            "task": [request.task.spec_sha, loaded.data.fingerprint],
            "problems": [one.label for one in problems],
            "golds": _golds(loaded, problems),
            "most_delta": request.most_delta,
            "seed": request.seed,
            "survey": request.check,
        }
    )
    isolate = is_walled(request.reference, request.isolate)

    def runs_on(chosen: Sequence[TuningProblem]) -> Callable[[dict[str, Any], int], RunJob]:
        def run(flat: dict[str, Any], number: int) -> RunJob:
            settings = nested(dotted(request.fixed) | flat)
            cache, where = library.store.root, str(device)
            return RunJob(task, cache, where, request.reference, isolate, settings, chosen[number])

        return run

    both = request.trials, request.epochs
    limits = Limits(
        trials=TRIALS if both == (None, None) else request.trials or MOST_TRIALS,
        epochs=request.epochs,
        making_epochs=making_epochs,
        budget=request.task.measure.budget,
        most_delta=request.most_delta,
    )
    with library.store.lock("searches", key, f"tuning {method.name}"):
        search = Search(
            cache_root() / "tuning" / f"{key}.sqlite", space, limits,
            runs_on(problems), len(problems),
            seed=request.seed, workers=request.workers, survey=request.check,
        )  # fmt: skip
        with closing(search), closing(_executor(request.workers, device)) as executor:
            if before := len(search.outcomes):
                say(f"going on after {before} trials of an earlier search")
            search.go_on(executor, lambda one: on_end(one, search.epochs_equivalent))
            found = _found(request, method, problems, search, device, _golds(loaded, problems))
            if not request.check:
                return found
            cases = choose_problems(loaded, "case", request.num_problems, request.seed)
            _make(library, cases)
            checked = agreement(
                search.outcomes, len(problems), runs_on(cases), len(cases), executor
            )
    tuned = found.tuned | {
        "spearman_with_cases": round(checked.spearman, 3),
        "checked_trials": checked.num_trials,
    }
    if checked.among_others is not None:
        tuned |= {"spearman_among_cases": round(checked.among_others, 3)}
    return replace(found, tuned=tuned, agreement=checked)


def _make(
    library: GoldLibrary, problems: Sequence[TuningProblem], *, update_logs: bool = False
) -> float:
    """Trains what the problems are made of; returns what that costs, in epochs-equivalent.

    Args:
        library: the tuning task and its models.
        problems: of one kind.
        update_logs: True to make logs of updates too, of tuning cases. They are no cost of the
            search, as an original that is made to be unlearned keeps its log.
    """
    loaded = library.loaded
    cases, cost = [one.case for one in problems], 0.0
    if problems[0].kind == "case":
        seeds = {one.seed for one in problems}
        build_missing(library, cases, seeds, update_logs=update_logs)
    else:
        refs = {ref.key: ref for one in problems for ref in originals_of(loaded, one)}
        missing = [ref for ref in refs.values() if not library.is_ready(ref)]
        build(library, take_shipped(library, missing))
        more = [ref for ref in refs.values() if ref.seed >= loaded.task.measure.originals]
        cost = float(loaded.task.train.epochs * len(more))
        say(f"{loaded.task.id}: twins of {', '.join(case.id for case in cases)}")
    return cost + sum(prepare(library, one).making_epochs for one in problems)


def _golds(loaded: LoadedTask, problems: Sequence[TuningProblem]) -> list[str]:
    """What the golds of the problems are."""
    if problems[0].kind == "case":
        return [f"{loaded.task.measure.golds} of each case"]
    seeds = sorted({seed for one in problems for seed in one.gold_seeds})
    return [f"original {seed}" for seed in seeds] or ["the original of the twin"]


def _executor(workers: int, device: torch.device) -> Executor:
    if workers == 1:
        return InThisProcess()
    return LocalExecutor(workers, threads=WorkerPolicy.for_device(device.type).threads)


def _found(
    request: Request,
    method: MethodClass,
    problems: Sequence[TuningProblem],
    search: Search,
    device: torch.device,
    golds: Sequence[str],
) -> Found:
    outcomes, best = search.outcomes, search.best
    default = next(one for one in outcomes if one.is_default)
    if best is None:
        reasons = "; ".join(sorted({one.status for one in outcomes}))
        raise UserError(
            f"none of {len(outcomes)} trials of {method.name} may be chosen ({reasons}): allow "
            "more trials, or give other ranges"
        )
    objectives = {"objective_best": round(best.objective, 4)}
    if len(default.scores) == len(problems) and default.scores[-1].status == "ok":
        objectives["objective_default"] = round(default.objective, 4)
        objectives["delta_default"] = round(default.delta_signed, 2)
    tuned = {
        "epochs_equivalent": round(search.epochs_equivalent, 3),
        "making_epochs_equivalent": round(search.making_epochs, 3),
        "task": request.task.id,
        "spec_sha": request.task.spec_sha,
        "problems": [one.label for one in problems],
        "seed": request.seed,
        "golds": golds,
        "trials": len(outcomes),
        "best_trial": best.number,
        "objective": "margin_distance",
        **objectives,
        "delta_best": round(best.delta_signed, 2),
        "source_sha256": method.source_sha256,
        "mubench": version("mubench"),
        "device": device_name(device),
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    settings = nested(dotted(request.fixed) | best.settings)
    return Found(method.name, problems, default, best, settings, tuned)
