"""An ensemble over shards: several networks, each trained on its own shard of D alone.

Which shard a sample belongs to follows from its pixels alone (`task.data.shard_numbers`). Order,
augmentation and dropout of a member's training follow from the seed and the shard. So a sample that
leaves D changes the member of its shard, and no bit of another.

Shape suffixes: N samples, S members, C channels, H and W pixels, D features, K classes.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mubench._util.hashing import derive_seed
from mubench.task.data import Samples, shard_numbers
from mubench.task.spec import TrainSpec

from . import loop
from .loop import EpochLog, Pipeline, Step, TrainState


class Ensemble(nn.Module):
    """Networks of one architecture, whose softmax outputs are averaged.

    Its logits are the logarithms of the mean probabilities, so their softmax is that mean.

    Args:
        members: the networks, shard by shard.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward_features(self, images_NCHW: Tensor) -> Tensor:
        """The members' last feature maps, stacked: (N, S, ...)."""
        networks: Any = self.members
        return torch.stack([member.forward_features(images_NCHW) for member in networks], 1)

    def forward_head(self, maps_NS: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, K) from the last feature maps, or with `pre_logits` the features (N, S D)."""
        networks: Any = self.members
        each = [
            member.forward_head(maps_N, pre_logits=pre_logits)
            for member, maps_N in zip(networks, maps_NS.unbind(1), strict=True)
        ]
        return torch.cat([one.flatten(1) for one in each], 1) if pre_logits else _mean(each)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Logits (N, K) of normalised images."""
        return _mean([member(images_NCHW) for member in self.members])


def _mean(logits: list[Tensor]) -> Tensor:
    """The logarithm of the mean probabilities, float32 (N, K), of the logits of S members."""
    log_probs_SNK = torch.stack(logits).float().log_softmax(2)
    return log_probs_SNK.logsumexp(0) - math.log(len(logits))


def members(model: nn.Module) -> list[nn.Module]:
    """The networks of an ensemble, shard by shard; a model that is none is its only member."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


def fit(
    model: nn.Module,
    samples: Samples,
    recipe: TrainSpec,
    pipeline: Pipeline,
    *,
    seed: int,
    on_step: Callable[[Step], None] | None = None,
    resume: TrainState | None = None,
    on_epoch: Callable[[Callable[[], TrainState]], None] | None = None,
) -> tuple[EpochLog, ...]:
    """Trains a model in place by a recipe: one network, or each member on its shard in turn.

    A member whose shard has no sample stays as it is.

    Args:
        model: the model, on the samples' device; left in eval mode.
        samples: the training samples, on the device.
        recipe: of each network.
        pipeline: the task's pipeline.
        seed: of one network; the seed of a member follows from it and the shard.
        on_step: as in `loop.fit`; steps are those of all members.
        resume: a state that `on_epoch` received, to continue from.
        on_epoch: called after each epoch of a network with a function that makes the state.

    Returns:
        The log, with one line per epoch of each network, member after member.

    Raises:
        mubench.training.loop.Diverged: the loss became infinite or NaN.
    """
    if not isinstance(model, Ensemble):
        return loop.fit(
            model, samples, recipe, pipeline,
            seed=seed, on_step=on_step, resume=resume, on_epoch=on_epoch,
        )  # fmt: skip
    shard_N = torch.from_numpy(shard_numbers(samples.images, len(model.members)))
    shard_N = shard_N.to(samples.labels.device)
    parts = [
        (number, member, shard)
        for number, member in enumerate(model.members)
        if len(shard := samples[shard_N == number])
    ]
    steps = [loop.num_batches(len(x), recipe.batch_size) * recipe.epochs for *_, x in parts]
    log = list(resume.log) if resume else []
    if resume:
        model.load_state_dict({k: v for k, v in resume.tensors.items() if not _is_optimizer(k)})
    for place in range(len(log) // recipe.epochs, len(parts)):
        number, member, shard = parts[place]
        start = place * recipe.epochs
        log[start:] = loop.fit(
            member,
            shard,
            recipe,
            pipeline,
            seed=derive_seed("shard", seed, number),
            on_step=partial(_tell, on_step, sum(steps[:place]), sum(steps)) if on_step else None,
            resume=_of_member(member, resume, log[start:]) if resume and log[start:] else None,
            on_epoch=partial(_pass_on, on_epoch, model, log[:start]) if on_epoch else None,
        )
    model.eval()
    return tuple(log)


def _is_optimizer(name: str) -> bool:
    return name.startswith("optimizer.")


def _tell(on_step: Callable[[Step], None], before: int, num_steps: int, step: Step) -> None:
    """Passes on the step of a member, as one of all members' steps."""
    on_step(step._replace(step=before + step.step, num_steps=num_steps))


def _pass_on(
    on_epoch: Callable[[Callable[[], TrainState]], None],
    model: Ensemble,
    before: list[EpochLog],
    make_state: Callable[[], TrainState],
) -> None:
    """Passes on the state of the ensemble in place of that of the member in training.

    Args:
        on_epoch: gets a function that makes it.
        model: the ensemble.
        before: the log of the members that are done.
        make_state: makes the state of the member.
    """

    def whole() -> TrainState:
        state = make_state()
        tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        tensors |= {name: value for name, value in state.tensors.items() if _is_optimizer(name)}
        return TrainState(tensors, (*before, *state.log))

    on_epoch(whole)


def _of_member(member: nn.Module, whole: TrainState, log: list[EpochLog]) -> TrainState:
    """The state of a member amid its training, from that of the ensemble, which has been restored.

    Args:
        member: of the ensemble.
        whole: the ensemble's state.
        log: the member's lines.
    """
    optimizer = {name: value for name, value in whole.tensors.items() if _is_optimizer(name)}
    return TrainState({**member.state_dict(), **optimizer}, tuple(log))
