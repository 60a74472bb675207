"""Problems as methods see them, without a run around them."""

import torch

from mubench.method.meter import Meter
from mubench.method.problem import MethodInputs, Problem


def make_inputs(loaded, *requires, library=None, seed=0, case=None, **access) -> MethodInputs:
    """What a method that declares `requires` is given of a case.

    Args:
        loaded: a task with its data, or what has the same sets.
        requires: what the method declares.
        library: whose original and training log; None: an untrained network and an empty log.
        seed: of the run.
        case: of the task; None: its first.
        access: in place of what the case gives, by name.
    """
    original = (
        library.model(library.loaded.originals[0])
        if library
        else loaded.architecture.fresh(1, loaded.device)
    )
    forget, retain = loaded.split(loaded.cases[0] if case is None else case)
    known = {
        "forget": forget,
        "retain": retain,
        "holdout": loaded.holdout,
        "shards": loaded.architecture.spec.shards or 1,
        "training_log": library.training_log(library.loaded.originals[0]) if library else (),
        "update_log": {name: torch.ones_like(w) for name, w in original.named_parameters()},
        "gold_labels": torch.arange(len(forget)) % 4 != 0,
        "gold_probabilities": torch.eye(loaded.architecture.num_classes)[forget.labels],
    } | access
    return MethodInputs(
        original=original.state_dict(),
        access={name: known[name] for name in requires},
        requires=frozenset(requires),
        num_forget=len(forget),
        architecture=loaded.architecture,
        data=loaded.task.data,
        recipe=loaded.task.train,
        seed=seed,
        device=loaded.device,
    )


def make_problem(loaded, *requires, meter: Meter | None = None, **inputs) -> Problem:
    """A problem that a meter may watch; `inputs` are further arguments of `make_inputs`."""
    return Problem(make_inputs(loaded, *requires, **inputs), meter)
