"""A training that logs what its steps with chosen samples change.

Shape suffixes: C choices of samples, N samples, K classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mubench.task.data import Samples
from mubench.task.spec import TrainSpec

from . import loop
from .loop import Batch, Pipeline, Step


class Updates(NamedTuple):
    """What the steps of a training that met chosen samples have changed."""

    sums: dict[str, Tensor]
    """By name of the parameter, in its shape: the sum of (weights after - weights before)."""
    num_steps: int
    """How many steps met a chosen sample."""


def fit_logged(
    model: nn.Module,
    samples: Samples,
    is_chosen_CN: Tensor,
    recipe: TrainSpec,
    pipeline: Pipeline,
    *,
    seed: int,
    on_step: Callable[[Step], None] | None = None,
) -> list[Updates]:
    """Trains a network in place, to the bits that `loop.fit` gives, and sums updates on the way.

    Args:
        model: the network, on the samples' device; left in eval mode.
        samples: the training samples, on the device.
        is_chosen_CN: bool (C, N), on the device: true for the samples whose steps are logged. Each
            choice has a log of its own.
        recipe: of the training.
        pipeline: the task's pipeline.
        seed: of the training.
        on_step: as in `loop.fit`.

    Raises:
        mubench.training.loop.Diverged: the loss became infinite or NaN.
    """

    def weights() -> dict[str, Tensor]:  # anew each time, as a training moves them in memory
        return {name: value.detach() for name, value in model.named_parameters()}

    num_choices = len(is_chosen_CN)
    sums_C = [
        {name: torch.zeros_like(value) for name, value in weights().items()}
        for _ in range(num_choices)
    ]
    num_steps_C = [0] * num_choices
    met: list[int] = []  # the choices that the current step meets
    before: dict[str, Tensor] = {}

    def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
        met[:] = is_chosen_CN[:, batch.index_N].any(1).nonzero().flatten().tolist()
        if met:  # the weights are still those before the step
            before.update({name: value.clone() for name, value in weights().items()})
        return loop.cross_entropy(logits_NK, batch)

    def after_step() -> None:
        if not met:
            return
        steps = {name: value - before[name] for name, value in weights().items()}
        for choice in met:
            num_steps_C[choice] += 1
            for name, step in steps.items():
                sums_C[choice][name] += step

    loop.fit(
        model, samples, recipe, pipeline,
        seed=seed, loss=loss, on_step=on_step, after_step=after_step,
    )  # fmt: skip
    return [Updates(*one) for one in zip(sums_C, num_steps_C, strict=True)]
