"""The one training loop, and the one way to compute a model's logits.

Images stay uint8 on the device. Shuffling, flips, crops and normalisation are batched tensor code.
Every random choice follows from (seed, epoch). So a training that continues from a checkpoint ends
with the same bits as an uninterrupted one.

Shape suffixes: N samples, C channels, H and W pixels, K classes.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mubench._util.hashing import derive_seed
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, TrainSpec

from .precision import autocast, whole_float32

SCORING_BATCH = 500  # samples per forward pass; enough to keep any device busy
GPU_TIMED_STEPS = 20  # a GPU is timed over so many steps, as it works on while it is given more


class Diverged(RuntimeError):  # noqa: N818 - a status, not a mistake
    """The loss of a training became infinite or NaN."""


class Batch(NamedTuple):
    """The samples of one training step, as a loss sees them."""

    images_NCHW: Tensor  # float32, normalised
    labels_N: Tensor  # int64
    index_N: Tensor  # int64, positions in the samples given to the training


Loss = Callable[[Tensor, Batch], Tensor]
"""A loss: (float32 logits (N, K), batch) to a scalar tensor."""


class Step(NamedTuple):
    """Progress of a training after a step."""

    step: int  # steps done
    num_steps: int  # steps of the whole training
    epoch: int  # number of the current epoch, from 1
    loss: float  # loss of this step's batch


@dataclass(frozen=True)
class EpochLog:
    """One line of the training log: what one epoch reached."""

    epoch: int  # number of the epoch, from 1
    lr: float  # learning rate of the epoch's last step
    loss: float  # mean over the epoch's samples, in train mode and under augmentation
    accuracy: float  # fraction of the epoch's samples, in train mode and under augmentation


@dataclass(frozen=True)
class TrainState:
    """The state of a training after an epoch, from which it can continue."""

    tensors: dict[str, Tensor]  # the model's, and `optimizer.<parameter>.<name>`; on the CPU
    log: tuple[EpochLog, ...]  # one line per finished epoch


def cross_entropy(logits_NK: Tensor, batch: Batch) -> Tensor:
    """Mean cross entropy over the batch: the loss of every recipe."""
    return F.cross_entropy(logits_NK, batch.labels_N)


class Pipeline:
    """Turns uint8 images into the input of a network: augmentation, then normalisation.

    Args:
        data: gives the mean and standard deviation per channel.
        recipe: states whether to flip and how many pixels to crop.
        device: device of the images.
    """

    def __init__(self, data: DataSpec, recipe: TrainSpec, device: torch.device):
        self.flip, self.crop = recipe.flip, recipe.crop
        shape = (1, -1, 1, 1)
        # (x / 255 - mean) / std as one multiply-add
        mean, std = torch.tensor(data.mean).view(shape), torch.tensor(data.std).view(shape)
        self.scale = (1 / (255 * std)).to(device)
        self.shift = (-mean / std).to(device)

    def normalise(self, images_NCHW: Tensor) -> Tensor:
        """Normalises uint8 or float pixels from 0 to 255.

        Args:
            images_NCHW: (N, C, H, W), on the device.

        Returns:
            Float32 (N, C, H, W), in the channels-last memory format.
        """
        images = images_NCHW.to(torch.float32).mul(self.scale).add_(self.shift)
        return images.contiguous(memory_format=torch.channels_last)

    def augment(self, images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Flips and crops images as the recipe states, with one random draw per image.

        Args:
            images_NCHW: uint8 (N, C, H, W), on the device.
            generator: a CPU generator. So the draws are the same on every device.

        Returns:
            uint8 (N, C, H, W).
        """
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
    """One shuffled pass over the samples, in batches.

    No batch has only one sample. Because batch norm cannot be trained on one sample, a last batch
    of one sample joins the batch before it. If there is only one sample in all, it is given twice.

    Args:
        samples: the samples, on the device.
        pipeline: the task's pipeline.
        batch_size: samples per batch; a last batch may have fewer, or one more.
        seed: seed of the order and of the augmentation.
        augment: True flips and crops as the recipe states.
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
    """Number of batches that `batches` makes of n samples."""
    whole, rest = divmod(n, batch_size)
    return max(whole + (rest > 1), 1)


def make_optimizer(model: nn.Module, recipe: TrainSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters of `model` that require gradients."""
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
    """The learning rate of a step: a function of the step alone, so that a run can resume anywhere.

    `one-cycle` equals `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing and its defaults.
    `cosine` equals `CosineAnnealingLR` down to zero, stepped after every step.

    Args:
        recipe: gives the schedule and the peak rate.
        step: number of the step, from 0.
        num_steps: steps of the whole training.
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "cosine":
        return recipe.lr / 2 * (1 + math.cos(math.pi * step / num_steps))
    if recipe.schedule == "step":
        epoch = step * recipe.epochs / num_steps  # a squeezed schedule has milestones in between
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
    after_step: Callable[[], bool | None] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    freeze_batch_norm: bool = False,
    max_norm: float | None = None,
) -> tuple[EpochLog, ...]:
    """Trains a model in place.

    Args:
        model: the model, on the samples' device; left in eval mode.
        samples: the training samples, on the device.
        recipe: optimiser, schedule, epochs, batch size and precision.
        pipeline: the task's pipeline.
        seed: seed of the order, the augmentation and the dropout.
        loss: scalar loss of (float32 logits (N, K), batch).
        on_step: called after every step. On a GPU: after every 50th step and the last.
        resume: a state that `on_epoch` received, to continue from.
        on_epoch: called after each epoch with a function that makes the state. If it returns true,
            the training stops.
        after_step: called after every step, on any device. If it returns true, the training stops
            there, and `on_epoch` is not called.
        optimizer: takes the steps, and keeps its state for a later call. None: the recipe's, anew.
        freeze_batch_norm: True has batch norm use its running statistics and leave them as they
            are. Its weights are trained all the same. Batch norm whose weights require no gradient
            is always so.
        max_norm: most that the norm of a step's gradient may be; a longer one is scaled down.

    Returns:
        The log, with one line per epoch. The last is of the steps taken.

    Raises:
        Diverged: the loss became infinite or NaN.
    """
    device = samples.labels.device
    model.to(memory_format=torch.channels_last).train()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            is_untrained = layer.affine and not layer.weight.requires_grad
            layer.train(not (freeze_batch_norm or is_untrained))
    optimizer = optimizer or make_optimizer(model, recipe)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    log = list(resume.log) if resume else []
    if resume:
        _restore(resume.tensors, model, optimizer)
    steps_per_epoch = num_batches(len(samples), recipe.batch_size)
    num_steps = steps_per_epoch * recipe.epochs
    # Reading a loss back makes a GPU wait. So there, only some of the losses are checked.
    check_every = 1 if device.type == "cpu" else 50
    step = len(log) * steps_per_epoch
    is_over = False
    with forked_rng(device):
        for epoch in range(len(log), recipe.epochs):
            epoch_seed = derive_seed("epoch", seed, epoch)
            torch.manual_seed(epoch_seed)  # for dropout and stochastic depth
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
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(trained, max_norm)
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
                if after_step and after_step():
                    is_over = True
                    break
            log.append(
                EpochLog(
                    epoch + 1,
                    optimizer.param_groups[0]["lr"],
                    total_loss.item() / num_seen,
                    correct.item() / num_seen,
                )
            )
            if is_over or (on_epoch and on_epoch(lambda: _state(model, optimizer, log))):
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
    """Sets torch's number of threads to `count` inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def forked_rng(device: torch.device) -> Iterator[None]:
    """Restores torch's global random generators, of the CPU and of `device`, after the context."""
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
    """Computes a model's logits, or another output, in eval mode and without augmentation.

    Args:
        model: the model, on the samples' device. The mode of each layer is restored afterwards.
        samples: N samples, on the device.
        pipeline: the task's pipeline.
        apply: function of (model, normalised images (N, C, H, W)) to compute; default: the logits.
        precision: `float32` or `bfloat16`, whatever the recipe trains in.

    Returns:
        Float32 logits (N, K), or one row per sample of what `apply` returns, on the device.
    """
    outputs = []
    device = samples.labels.device
    exact = whole_float32(device) if precision == "float32" else nullcontext()
    with evaluating(model), exact:
        for start in range(0, len(samples), SCORING_BATCH):
            images_NCHW = pipeline.normalise(samples.images[start : start + SCORING_BATCH])
            with autocast(precision, device):
                output = apply(model, images_NCHW) if apply else model(images_NCHW)
            outputs.append(output.float())
    return torch.cat(outputs)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model into eval mode, and each of its layers back into its own mode afterwards."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def step_seconds(
    model: nn.Module, samples: Samples, recipe: TrainSpec, pipeline: Pipeline, repeats: int = 5
) -> list[float]:
    """Measures how long one training step takes on this machine. Changes the model's weights.

    Args:
        model: the model, on the samples' device.
        samples: samples, of which the first make the batches.
        recipe: recipe of the training to time.
        pipeline: the task's pipeline.
        repeats: number of times, after one that warms up.

    Returns:
        Seconds of a step, each time. On a GPU: of one of `GPU_TIMED_STEPS` steps in a row.
    """
    device = samples.labels.device
    in_a_row = 1 if device.type == "cpu" else GPU_TIMED_STEPS
    some = samples[: recipe.batch_size * in_a_row]
    num_steps = num_batches(len(some), recipe.batch_size)
    one_step = recipe.model_copy(update={"epochs": 1, "schedule": "constant", "lr": 1e-6})
    durations = []
    for repeat in range(repeats + 1):
        synchronise(device)
        started = time.perf_counter()
        fit(model, some, one_step, pipeline, seed=repeat)
        synchronise(device)
        durations.append((time.perf_counter() - started) / num_steps)
    return durations[1:]


def synchronise(device: torch.device) -> None:
    """Waits until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
