"""The meter: how many samples' worth of work a method does, as two witnesses tell.

- *Samples*: a hook on the first layer of every network of the problem counts what passes.
- *Operations*: whatever runs is counted, by any way, in units of one sample's pass.

The samples are the count as long as they explain the operations. Where work went past the hooks,
the operations are the count.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mubench.training import networks
from mubench.training.ensemble import members

from .operations import Operations, counted_operations

SLACK = 1.1
"""Operations up to this multiple of those of the samples are explained by the samples.

The rest is for work that is no pass of a network: distances, a classifier of three features, the
making of a network. Of the built-in methods none needs more than a hundredth."""

MOST = 10**15
"""More samples than this the hooks cannot have seen: a method has changed their count."""


@dataclass
class SampleCount:
    """Samples that passed."""

    forward: int = 0
    """Samples that passed forward."""
    backward: int = 0
    """Samples that passed backward, at every backward pass."""


@dataclass
class Reading:
    """What a meter says at the end of `running`."""

    samples: SampleCount
    """The count: samples as seen, or as many as the operations are worth."""
    unseen: SampleCount
    """Samples among them that only the operations show."""
    operations: int = 0
    """Floating-point operations, forward and backward."""
    is_intact: bool = False
    """False if the counter of operations was taken out."""


class Meter:
    """Counts what passes through the networks of a problem, whoever calls them.

    Attributes:
        seen: what the hooks have counted.
    """

    def __init__(self) -> None:
        """A meter at zero."""
        self.seen = SampleCount()
        self._example: nn.Module | None = None

    def watch(self, model: nn.Module) -> None:
        """Counts the samples that pass through the model and its deep copies, until `unwatch`.

        A sample counts backward at every backward pass that reaches the first layer, and at every
        one that ends before, because layers at the input are not trained. A sample that passes
        an ensemble counts once for each member, as training passes it through one member only.
        """
        for member in members(model):
            self._watch(member)

    def _watch(self, model: nn.Module) -> None:
        self._example = self._example or model
        seen = self.seen

        def count_backward(layer: nn.Module, output: Tensor) -> None:
            samples = _num_samples(layer, output)

            def count_pass(gradient: Tensor) -> None:
                # Several backward passes at once hide in the gradient of a `vmap`.
                seen.backward += max(samples, _num_samples(layer, gradient))

            if output.requires_grad:
                output.register_hook(count_pass)  # type: ignore[no-untyped-call]

        # Because these are plain functions, a deep copy of the model counts into the same meter.
        def count(layer: nn.Module, _: object, output: Tensor) -> None:
            seen.forward += _num_samples(layer, output)
            count_backward(layer, output)

        def count_part(network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            # Looked for anew, because a copy has a first layer of its own.
            firsts = [x for x in network.modules() if hasattr(x, "mubench_meter")][1:]
            sources = [*inputs, *(weight for x in firsts for weight in x.parameters())]
            if not any(source.requires_grad for source in sources):
                count_backward(network, output)

        layer: Any = networks.input_layer(model)
        layer.mubench_meter = layer.register_forward_hook(count)
        whole: Any = model
        whole.mubench_meter = whole.register_forward_hook(count_part)

    @staticmethod
    def unwatch(model: nn.Module) -> None:
        """Removes the meter's hook from a model."""
        for layer in model.modules():
            handle = getattr(layer, "mubench_meter", None)
            if handle is not None:
                layer._forward_hooks.pop(handle.id, None)
                del layer.mubench_meter

    @contextmanager
    def running(self) -> Iterator[Reading]:
        """Counts operations too inside the context; the reading is complete at its end.

        A model must be watched before. The first one tells what a sample is worth.
        """
        assert self._example is not None
        # These names are this function's own, so a method that patches the meter changes nothing.
        seen, settle, unit = self.seen, _settle, operations_per_sample(self._example)
        reading = Reading(SampleCount(), SampleCount())
        operations = Operations()
        try:
            with counted_operations() as operations:
                yield reading
        finally:
            settle(reading, seen, operations, unit)


def operations_per_sample(model: nn.Module) -> Operations:
    """Operations of one sample's pass, forward and backward to all parameters.

    Args:
        model: a network from `build`. A copy of it runs.
    """
    network: Any = deepcopy(model)
    Meter.unwatch(network)
    network.requires_grad_().eval()
    device = next(network.parameters()).device
    with counted_operations() as operations, torch.enable_grad():
        network(torch.zeros(1, *network.input_shape, device=device)).sum().backward()
    return operations


def _settle(reading: Reading, seen: SampleCount, operations: Operations, unit: Operations) -> None:
    """Completes a reading.

    Args:
        reading: to complete.
        seen: samples that passed the hooks.
        operations: all that ran.
        unit: operations of one sample.
    """
    # By `vars`, because a method may have taken the counts away, or put something in their place.
    counts: list[Any] = [vars(seen).get(name) for name in ("forward", "backward")]
    is_count = [type(count) is int and 0 <= count <= MOST for count in counts]
    found = SampleCount(*counts) if all(is_count) else SampleCount()
    count = SampleCount(found.forward, found.backward)
    ran = operations.forward + operations.backward
    if ran > SLACK * (found.forward * unit.forward + found.backward * unit.backward):
        count.forward = max(count.forward, round(operations.forward / unit.forward))
        count.backward = max(count.backward, round(operations.backward / unit.backward))
    reading.samples = count
    reading.unseen = SampleCount(count.forward - found.forward, count.backward - found.backward)
    reading.operations = ran
    reading.is_intact = operations.is_intact


def _num_samples(layer: nn.Module, output: Tensor) -> int:
    """Samples in a layer's output, those that `torch.func.vmap` hides among them."""
    inside = output
    while torch._C._functorch.is_functorch_wrapped_tensor(inside):
        inside = torch._C._functorch.get_unwrapped(inside)
    is_one = isinstance(layer, nn.Conv2d) and output.ndim == 3
    samples = 1 if is_one else output.shape[0]
    return samples * inside.numel() // max(1, output.numel())
