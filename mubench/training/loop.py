"""The one training loop, and the one way to get logits out of a model.

Images stay uint8 on the device; shuffling, flips, crops and normalisation are batched tensor code.
Every random choice comes from (seed, epoch), so a training that continues from a checkpoint ends
with the same bits as one that was never stopped.

Shape suffixes: N samples, C channels, H and W pixels, K classes.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mubench._util.hashing import derive_seed
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, TrainSpec

SCORING_BATCH = 500  # samples per forward pass; large enough for any device to be busy


class Diverged(RuntimeError):  # noqa: N818 - a status, not a mistake
    """The loss is not finite any more."""


class Batch(NamedTuple):
    """What a loss sees of one step."""

    images_NCHW: Tensor  # float32, normalised
    labels_N: Tensor  # int64
    index_N: Tensor  # int64, positions in the samples that are trained on


Loss = Callable[[Tensor, Batch], Tensor]  # (logits_NK, batch) -> scalar


class Step(NamedTuple):
    """Where a training stands after a step."""

    step: int  # steps done
    num_steps: int
    epoch: int  # epochs done, counting the one that runs
    loss: float  # of this step's batch


@dataclass(frozen=True)
class EpochLog:
    """One line of the training log."""

    epoch: int  # from 1
    lr: float  # of its last step
    loss: float  # mean over its samples, as trained
    accuracy: float  # fraction of its samples, as trained


@dataclass(frozen=True)
class TrainState:
    """All that a training needs to go on after an epoch."""

    tensors: dict[str, Tensor]  # the model's state, and `optimizer.<parameter>.<name>`
    log: tuple[EpochLog, ...]  # of the epochs done


def cross_entropy(logits_NK: Tensor, batch: Batch) -> Tensor:
    """Mean cross entropy, the loss of every recipe."""
    return F.cross_entropy(logits_NK, batch.labels_N)


class Pipeline:
    """From uint8 images to what a network takes: augmentation, then normalisation."""

    def __init__(self, data: DataSpec, recipe: TrainSpec, device: torch.device):
        self.flip, self.crop = recipe.flip, recipe.crop
        shape = (1, -1, 1, 1)
        # (x / 255 - mean) / std as one multiply-add
        mean, std = torch.tensor(data.mean).view(shape), torch.tensor(data.std).view(shape)
        self.scale = (1 / (255 * std)).to(device)
        self.shift = (-mean / std).to(device)

    def normalise(self, images_NCHW: Tensor) -> Tensor:
        """Float32 (N, C, H, W), channels last, from uint8 or from float pixels in 0..255."""
        images = images_NCHW.to(torch.float32).mul(self.scale).add_(self.shift)
        return images.contiguous(memory_format=torch.channels_last)

    def augment(self, images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Flipped and cropped uint8 images, as the recipe says; each image by its own draw."""
        n, _, height, width = images_NCHW.shape
        device = images_NCHW.device
        if self.flip:
            mirrored = torch.rand(n, 1, 1, 1, generator=generator).lt(0.5).to(device)
            images_NCHW = torch.where(mirrored, images_NCHW.flip(3), images_NCHW)
        if self.crop:
            padded = F.pad(images_NCHW, (self.crop,) * 4)
            offsets = torch.randint(2 * self.crop + 1, (2, n, 1), generator=generator).to(device)
            rows_NH = offsets[0] + torch.arange(height, device=device)
            columns_NW = offsets[1] + torch.arange(width, device=device)
            picked = torch.arange(n, device=device)[:, None, None]
            images_NHWC = padded.permute(0, 2, 3, 1)[
                picked, rows_NH[:, :, None], columns_NW[:, None, :]
            ]
            images_NCHW = images_NHWC.permute(0, 3, 1, 2)
        return images_NCHW


def batches(
    samples: Samples, pipeline: Pipeline, *, batch_size: int, seed: int, augment: bool = True
) -> Iterator[Batch]:
    """One shuffled pass. No batch is of one sample, which batch norm could not be trained on.

    A last batch of one joins the batch before it; a single sample is given twice.

    Args:
        samples: on the device.
        pipeline: of the task.
        batch_size: samples per batch.
        seed: of the order and of the augmentation.
        augment: whether to flip and crop as the recipe says.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator).to(samples.labels.device)
    if len(samples) == 1:
        order = order.repeat(2)
    n = len(order)
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        index = order[start:end]
        images = samples.images[index]
        if augment:
            images = pipeline.augment(images, generator)
        yield Batch(pipeline.normalise(images), samples.labels[index], index)


def num_batches(n: int, batch_size: int) -> int:
    """How many batches `batches` gives for n samples."""
    whole, rest = divmod(n, batch_size)
    return max(whole + (rest > 1), 1)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a forward pass runs in the recipe's precision."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def make_optimizer(model: nn.Module, recipe: TrainSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that are trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        trained,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def learning_rate(recipe: TrainSpec, step: int, num_steps: int) -> float:
    """The rate of a step (from 0): a function of the step alone, so that a run can resume anywhere.

    `one-cycle` equals `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing and its defaults.
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "step":
        epoch = step * recipe.epochs // num_steps
        return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)
    initial, final = recipe.lr / 25, recipe.lr / 25e4
    peak_step = recipe.warmup * num_steps - 1
    if step <= peak_step:
        start, end, done = initial, recipe.lr, step / peak_step if peak_step > 0 else 1.0
    else:
        done = (step - peak_step) / max(num_steps - 1 - peak_step, 1)
        start, end = recipe.lr, final
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def fit(
    model: nn.Module,
    samples: Samples,
    recipe: TrainSpec,
    pipeline: Pipeline,
    *,
    seed: int,
    loss: Loss = cross_entropy,
    on_step: Callable[[Step], None] | None = None,
    resume: TrainState | None = None,
    on_epoch: Callable[[Callable[[], TrainState]], bool | None] | None = None,
) -> tuple[EpochLog, ...]:
    """Trains a model in place.

    Args:
        model: on the samples' device; left in eval mode.
        samples: what is trained on, on the device.
        recipe: optimiser, schedule, epochs, batch size, augmentation, precision.
        pipeline: of the task.
        seed: of order, augmentation and dropout.
        loss: of (logits_NK, batch).
        on_step: told of every step.
        resume: a state that `on_epoch` was given, to go on from.
        on_epoch: called after each epoch with a function that makes the state; true: stop here.

    Returns:
        The log, a line an epoch.

    Raises:
        Diverged: the loss became infinite or NaN.
    """
    device = samples.labels.device
    model.to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, recipe)
    log = list(resume.log) if resume else []
    if resume:
        _restore(resume.tensors, model, optimizer)
    steps_per_epoch = num_batches(len(samples), recipe.batch_size)
    num_steps = steps_per_epoch * recipe.epochs
    # Reading a loss back makes a GPU wait, so there it is looked at now and then only.
    check_every = 1 if device.type == "cpu" else 50
    step = len(log) * steps_per_epoch
    with forked_rng(device):
        for epoch in range(len(log), recipe.epochs):
            epoch_seed = derive_seed("epoch", seed, epoch)
            torch.manual_seed(epoch_seed)  # dropout and stochastic depth
            num_seen, total_loss = 0, torch.zeros((), device=device)
            correct = torch.zeros((), device=device, dtype=torch.int64)
            for batch in batches(samples, pipeline, batch_size=recipe.batch_size, seed=epoch_seed):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, step, num_steps)
                optimizer.zero_grad(set_to_none=True)
                with autocast(recipe.precision, device):
                    logits_NK = model(batch.images_NCHW)
                logits_NK = logits_NK.float()
                value = loss(logits_NK, batch)
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
                num_seen += len(batch.labels_N)
                with torch.no_grad():
                    total_loss += value * len(batch.labels_N)
                    correct += logits_NK.argmax(1).eq(batch.labels_N).sum()
                if step % check_every == 0 or step == num_steps:
                    if not math.isfinite(seen := value.item()):
                        raise Diverged(f"the loss is {seen} at step {step} of {num_steps}")
                    if on_step:
                        on_step(Step(step, num_steps, epoch + 1, seen))
            log.append(
                EpochLog(
                    epoch + 1,
                    optimizer.param_groups[0]["lr"],
                    total_loss.item() / num_seen,
                    correct.item() / num_seen,
                )
            )
            if on_epoch and on_epoch(lambda: _state(model, optimizer, log)):
                break
    model.eval()
    return tuple(log)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer, log: list[EpochLog]) -> TrainState:
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is None:
                continue  # SGD without momentum
            tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value).cpu()
    return TrainState(tensors, tuple(log))


def _restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("optimizer.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Lets torch use so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def forked_rng(device: torch.device) -> Iterator[None]:
    """Gives the global random generators back as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@torch.no_grad()
def predict(
    model: nn.Module,
    samples: Samples,
    pipeline: Pipeline,
    apply: Callable[[nn.Module, Tensor], Tensor] | None = None,
    precision: str = "float32",
) -> Tensor:
    """What a model says of samples: in eval mode, without augmentation.

    Args:
        model: on the samples' device; its training flag is given back as it was.
        samples: N of them, on the device.
        pipeline: of the task.
        apply: what to compute of (model, images_NCHW); default: the logits.
        precision: in which to compute, whatever the recipe trains in.

    Returns:
        Float32 (N, K) or whatever `apply` gives per sample, on the device.
    """
    was_training = model.training
    model.eval()
    outputs = []
    for start in range(0, len(samples), SCORING_BATCH):
        images_NCHW = pipeline.normalise(samples.images[start : start + SCORING_BATCH])
        with autocast(precision, samples.labels.device):
            output = apply(model, images_NCHW) if apply else model(images_NCHW)
        outputs.append(output.float())
    model.train(was_training)
    return torch.cat(outputs)


def step_seconds(
    model: nn.Module, samples: Samples, recipe: TrainSpec, pipeline: Pipeline, repeats: int = 5
) -> list[float]:
    """How long a training step takes here and now, once per repeat; spoils the model.

    Args:
        model: on the samples' device.
        samples: to take a batch of.
        recipe: of the training that is timed.
        pipeline: of the task.
        repeats: how many steps to time, after one that warms up.
    """
    some = samples[: recipe.batch_size]
    one_step = recipe.model_copy(update={"epochs": 1, "schedule": "constant", "lr": 1e-6})
    durations = []
    for repeat in range(repeats + 1):
        synchronise(samples.labels.device)
        started = time.perf_counter()
        fit(model, some, one_step, pipeline, seed=repeat)
        synchronise(samples.labels.device)
        durations.append(time.perf_counter() - started)
    return durations[1:]


def synchronise(device: torch.device) -> None:
    """Waits until a device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
