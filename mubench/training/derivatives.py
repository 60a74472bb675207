"""Derivatives of a model's loss: gradients by weights, per sample too, and attacks by pixels.

All are in float32 and eval mode, without augmentation. Whatever passes is counted by the meter, as
the model is called like any other.

Shape suffixes: N samples, M values of a loss, C channels, H and W pixels, K classes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mubench.task.data import Samples

from . import layerwise
from .loop import Batch, Loss, Pipeline
from .precision import whole_float32

PER_SAMPLE_FLOATS = 2**28
"""Most numbers that the gradients of samples computed at once hold: 1 GiB."""

PASSES_AT_ONCE = 512
"""Most backward passes of a sample that run at once: bounds the memory of activations."""

SQUARED_AT_ONCE = 64
"""Samples whose squared gradients are summed at once: what a processor's cache does best."""

ATTACKED_AT_ONCE = 500
"""Samples that are attacked at once: bounds memory."""


def mean_gradients(
    model: nn.Module, batches: Iterable[Batch], *, loss: Loss, square: bool
) -> dict[str, Tensor]:
    """The mean over samples of the gradients of batches, or the mean over batches of their squares.

    Args:
        model: whose trainable parameters the loss is derived by.
        batches: normalised batches.
        loss: a scalar of (logits_NK, batch).
        square: whether each batch's gradient is squared.
    """
    weights = layerwise.trained(model)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    with _evaluating(model), torch.enable_grad():
        for batch in batches:
            # Derived by the images too, so that every pass reaches the first layer and is counted.
            batch.images_NCHW.requires_grad_()
            value = loss(model(batch.images_NCHW).float(), batch)
            derived_by = [*weights.values(), batch.images_NCHW]
            *found, _ = torch.autograd.grad(value, derived_by, materialize_grads=True)
            share = 1 if square else len(batch.labels_N)
            for name, gradient in zip(weights, found, strict=True):
                total[name] += gradient.square() if square else share * gradient
            count += share
    return {name: value / count for name, value in total.items()}


def sample_gradients(
    model: nn.Module, samples: Samples, pipeline: Pipeline, *, loss: Loss, batch_size: int | None
) -> Iterator[dict[str, Tensor]]:
    """The gradients of each sample, in the order of the samples, some samples at a time.

    Args:
        model: whose trainable parameters the loss is derived by.
        samples: to go through.
        pipeline: normalises the images.
        loss: (logits (1, K), batch of one) to a scalar or to (M,) values; runs under `vmap`.
        batch_size: samples at a time; None: as many as memory allows.

    Yields:
        By name of a parameter: (N, *its shape), or (N, M, *its shape) for M values.
    """
    compute = layerwise.sample_gradients if layerwise.is_layerwise(model) else _by_vmap
    start = 0
    while start < len(samples):
        batch = _some(samples, pipeline, start, batch_size or 1)
        with _evaluating(model):
            gradients = compute(model, batch, loss)
        yield gradients
        start += len(batch.labels_N)
        # The first sample, alone, tells how many values the loss has.
        each = sum(gradient.numel() for gradient in gradients.values()) // len(batch.labels_N)
        num_values = each // _num_trained(model)
        batch_size = batch_size or max(
            1, min(PER_SAMPLE_FLOATS // each, PASSES_AT_ONCE // num_values)
        )


def _some(samples: Samples, pipeline: Pipeline, start: int, count: int) -> Batch:
    """A batch of some samples from a place on, without augmentation."""
    some = samples[start : start + count]
    index_N = torch.arange(start, start + len(some), device=some.labels.device)
    return Batch(pipeline.normalise(some.images), some.labels, index_N)


def _by_vmap(model: nn.Module, batch: Batch, loss: Loss) -> dict[str, Tensor]:
    """What `layerwise.sample_gradients` returns, of any network."""
    # In torch's own memory format, because pooling of channels-last images has no `vmap`.
    fixed = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}
    weights = {name: fixed.pop(name) for name in layerwise.trained(model)}

    def values(weights: dict[str, Tensor], image: Tensor, label: Tensor, index: Tensor) -> Tensor:
        one = Batch(image[None], label[None], index[None])
        logits_1K = functional_call(model, fixed | weights, (one.images_NCHW,)).float()
        return loss(logits_1K, one)

    # By the images too, so that every pass reaches the first layer and is counted.
    derive = vmap(jacrev(values, (0, 1)), (None, 0, 0, 0))
    with sdpa_kernel(SDPBackend.MATH):  # the fused have no `vmap`
        images_NCHW = batch.images_NCHW.contiguous()
        gradients, _ = derive(weights, images_NCHW, batch.labels_N, batch.index_N)
    found: dict[str, Tensor] = gradients
    return found


def mean_squares(
    model: nn.Module, samples: Samples, pipeline: Pipeline, *, loss: Loss, batch_size: int | None
) -> dict[str, Tensor]:
    """The mean over samples of what `sample_gradients` yields, squared, and summed over M values.

    Args:
        model: whose trainable parameters the loss is derived by.
        samples: to go through.
        pipeline: normalises the images.
        loss: as for `sample_gradients`.
        batch_size: samples at a time; None: as many as memory allows.
    """
    total = {name: torch.zeros_like(weight) for name, weight in layerwise.trained(model).items()}
    if layerwise.is_layerwise(model):
        at_once = batch_size or max(
            1, min(SQUARED_AT_ONCE, PER_SAMPLE_FLOATS // _num_trained(model))
        )
        for start in range(0, len(samples), at_once):
            with _evaluating(model):
                batch = _some(samples, pipeline, start, at_once)
                for name, value in layerwise.sums_of_squares(model, batch, loss).items():
                    total[name] += value
    else:
        found = sample_gradients(model, samples, pipeline, loss=loss, batch_size=batch_size)
        for gradients in found:
            for name, gradient in gradients.items():
                total[name] += gradient.square().sum_to_size(total[name].shape)
    return {name: value / len(samples) for name, value in total.items()}


def attack(
    model: nn.Module,
    samples: Samples,
    pipeline: Pipeline,
    *,
    norm: Literal["linf", "l2"],
    eps: float,
    steps: int,
    step_size: float,
    targets_N: Tensor | None,
) -> Samples:
    """Projected gradient descent (arXiv:1706.06083) on pixels, without a random start.

    Args:
        model: to mislead.
        samples: to start from.
        pipeline: normalises the images.
        norm: in which `eps` is meant: of the largest change of a pixel, or the Euclidean one.
        eps: most that an image may change, pixels being 0..255.
        steps: of the descent.
        step_size: length of a step in that norm.
        targets_N: labels to attack towards. None: away from the samples' own.

    Returns:
        Float pixels in 0..255, under the samples' own labels.
    """
    attacked = []
    with _evaluating(model), torch.enable_grad():
        for start in range(0, len(samples), ATTACKED_AT_ONCE):
            some = slice(start, start + ATTACKED_AT_ONCE)
            clean_NCHW, aim_N, sign = samples.images[some].float(), samples.labels[some], 1.0
            if targets_N is not None:
                aim_N, sign = targets_N[some], -1.0
            images_NCHW = clean_NCHW
            for _ in range(steps):
                images_NCHW = images_NCHW.detach().requires_grad_()
                logits_NK = model(pipeline.normalise(images_NCHW)).float()
                value = F.cross_entropy(logits_NK, aim_N, reduction="sum")
                (gradient,) = torch.autograd.grad(value, images_NCHW)
                direction = gradient.sign() if norm == "linf" else _unit(gradient)
                change = images_NCHW.detach() + sign * step_size * direction - clean_NCHW
                if norm == "linf":
                    change = change.clamp(-eps, eps)
                else:
                    change = change * (eps / _length(change).clamp_min(eps))
                images_NCHW = (clean_NCHW + change).clamp(0, 255)
            attacked.append(images_NCHW.detach())
    return Samples(torch.cat(attacked), samples.labels)


def _length(images_NCHW: Tensor) -> Tensor:
    """The Euclidean length of each image, (N, 1, 1, 1)."""
    length: Tensor = torch.linalg.vector_norm(images_NCHW, dim=(1, 2, 3), keepdim=True)
    return length


def _unit(images_NCHW: Tensor) -> Tensor:
    return images_NCHW / _length(images_NCHW).clamp_min(1e-12)


def _num_trained(model: nn.Module) -> int:
    return sum(weight.numel() for weight in layerwise.trained(model).values())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Has a model in eval mode and whole float32 inside the context."""
    was_training = model.training
    model.eval()
    try:
        with whole_float32(next(model.parameters()).device):
            yield
    finally:
        model.train(was_training)
