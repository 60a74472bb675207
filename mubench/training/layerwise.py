"""Gradients of each sample's loss by the weights, layer by layer, in passes over whole batches.

In eval mode no sample meets another. So the gradient by a layer's output holds each sample's own
part, and with the layer's input it gives the sample's gradient by the layer's weights (for linear
layers: arXiv:1510.01799). `torch.func.vmap` would make a group of each convolution per sample.

Shape suffixes: N samples, M values of a loss, K classes, C channels, H and W pixels, O outputs of a
layer, I inputs of a layer, L places of an output, P inputs that one output meets.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from .loop import Batch, Loss

Derive = Callable[[Tensor], dict[str, Tensor]]
"""From the gradient by a layer's output to those by its parameters, by name, a sample each."""


def is_layerwise(model: nn.Module) -> bool:
    """True if `sample_gradients` knows all layers of a model with trained parameters."""
    layers = _trained_layers(model)
    own = {f"{name}.{own}" for name, layer in layers.items() for own in _own_trained(layer)}
    return own == trained(model).keys() and all(_derivative(layer) for layer in layers.values())


def sample_gradients(model: nn.Module, batch: Batch, loss: Loss) -> dict[str, Tensor]:
    """The gradient of each sample's loss, by name of the trained parameter.

    Args:
        model: in eval mode, with `is_layerwise`.
        batch: normalised, float32.
        loss: (logits (1, K), batch of one sample) to a scalar or to (M,) values. It runs under
            `torch.func.vmap`.

    Returns:
        (N, *shape of the parameter), or (N, M, *shape) for a loss of M values.
    """
    values, derive = _forward(model, batch, loss)
    found = {
        name: weight.new_zeros(*values.shape, *weight.shape)
        for name, weight in trained(model).items()
    }
    for number, total in enumerate(values.view(len(values), -1).sum(0)):
        for name, gradient in derive(total).items():
            found[name].view(len(values), -1, *gradient.shape[1:])[:, number] = gradient
    return found


def sums_of_squares(model: nn.Module, batch: Batch, loss: Loss) -> dict[str, Tensor]:
    """The squares of what `sample_gradients` returns, summed over N and M, without keeping it."""
    values, derive = _forward(model, batch, loss)
    found = {name: torch.zeros_like(weight) for name, weight in trained(model).items()}
    for total in values.view(len(values), -1).sum(0):
        for name, gradient in derive(total).items():
            found[name] += gradient.square_().sum(0)  # it is nobody else's
    return found


def _forward(
    model: nn.Module, batch: Batch, loss: Loss
) -> tuple[Tensor, Callable[[Tensor], dict[str, Tensor]]]:
    """Runs a batch forward.

    Returns:
        The values of the loss, (N,) or (N, M), and a function from the sum over N of one of M to
        its gradients: by name of the parameter, (N, *shape). A parameter that the loss does not
        depend on is left out.
    """
    found: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module) -> RemovableHandle:
        derivative, own = _derivative(layer), _own_trained(layer)
        assert derivative

        def on_forward(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            derive_layer = derivative(inputs[0].detach())

            def on_backward(gradient: Tensor) -> None:
                for parameter, part in derive_layer(gradient).items():
                    key = f"{name}.{parameter}"
                    if parameter in own:  # a layer that is called twice has two parts
                        found[key] = found[key] + part if key in found else part

            output.register_hook(on_backward)  # type: ignore[no-untyped-call]

        return layer.register_forward_hook(on_forward)

    def value(logits_K: Tensor, image: Tensor, label: Tensor, index: Tensor) -> Tensor:
        return loss(logits_K[None], Batch(image[None], label[None], index[None]))

    handles = [watch(name, layer) for name, layer in _trained_layers(model).items()]
    try:
        with torch.enable_grad():
            # By the images, so that every pass reaches the first layer and is counted.
            images_NCHW = batch.images_NCHW.detach().requires_grad_()
            logits_NK = model(images_NCHW).float()
            values = vmap(value)(logits_NK, batch.images_NCHW, batch.labels_N, batch.index_N)
    finally:
        for handle in handles:
            handle.remove()

    def derive(total: Tensor) -> dict[str, Tensor]:
        found.clear()
        torch.autograd.grad(total, images_NCHW, retain_graph=True)
        return dict(found)

    return values, derive


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name to parameter, of those that require a gradient."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _own_trained(layer: nn.Module) -> set[str]:
    """Names of the parameters that require a gradient and belong to no module inside."""
    return {name for name, x in layer.named_parameters(recurse=False) if x.requires_grad}


def _trained_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name to module, of the modules with trained parameters of their own."""
    return {name: layer for name, layer in model.named_modules() if _own_trained(layer)}


def _derivative(layer: nn.Module) -> Callable[[Tensor], Derive] | None:
    """What derives by a layer's parameters, given the layer's input. None: no such layer is known.

    The very types are asked for, because a subclass may do something else before or after.
    """
    if type(layer) is nn.Linear:
        return partial(_of_linear, layer)
    if type(layer) is nn.BatchNorm2d and layer.affine and layer.track_running_stats:
        return partial(_of_batch_norm, layer)
    if type(layer) is nn.Conv2d and (layer.groups, layer.padding_mode) == (1, "zeros"):
        return partial(_of_convolution, layer) if isinstance(layer.padding, tuple) else None
    return None


def _of_convolution(layer: nn.Conv2d, x_NCHW: Tensor) -> Derive:
    assert isinstance(layer.padding, tuple)
    taps_NPL = F.unfold(x_NCHW, layer.kernel_size, layer.dilation, layer.padding, layer.stride)

    def derive(gradient_NOHW: Tensor) -> dict[str, Tensor]:
        gradient_NOL = gradient_NOHW.flatten(2)
        weight_NOP = gradient_NOL @ taps_NPL.mT
        weight = weight_NOP.view(len(x_NCHW), *layer.weight.shape)
        return {"weight": weight, "bias": gradient_NOL.sum(2)}

    return derive


def _of_linear(layer: nn.Linear, x: Tensor) -> Derive:
    x_NLI = x.reshape(len(x), -1, layer.in_features)

    def derive(gradient: Tensor) -> dict[str, Tensor]:
        gradient_NLO = gradient.reshape(len(x), -1, layer.out_features)
        return {"weight": gradient_NLO.mT @ x_NLI, "bias": gradient_NLO.sum(1)}

    return derive


def _of_batch_norm(layer: nn.BatchNorm2d, x_NCHW: Tensor) -> Derive:
    assert layer.running_mean is not None and layer.running_var is not None
    scale_C = (layer.running_var + layer.eps).rsqrt()
    mean_C11, scale_C11 = (value[:, None, None] for value in (layer.running_mean, scale_C))
    normal_NCHW = (x_NCHW - mean_C11) * scale_C11

    def derive(gradient_NCHW: Tensor) -> dict[str, Tensor]:
        weight = (gradient_NCHW * normal_NCHW).sum((2, 3))
        return {"weight": weight, "bias": gradient_NCHW.sum((2, 3))}

    return derive
