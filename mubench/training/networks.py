"""The networks: build one by name, read its penultimate features, find its first layer.

- `resnet18` is timm's network of "Deep Residual Learning for Image Recognition" (arXiv:1512.03385).
- `allcnn` is in mubench/training/allcnn.py, `vit` in mubench/training/vit.py.
- Every other name is a model of timm.
- An ensemble over shards is in mubench/training/ensemble.py; its members are of one architecture.

Every network has timm's interface: `forward` is `forward_features`, then `forward_head`.

Shape suffixes: N images, C channels, H and W pixels, D features.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean
from mubench.task import architectures
from mubench.task.spec import ModelSpec

from .allcnn import AllCNN
from .ensemble import Ensemble, members

LARGEST_SMALL_IMAGE = 64
"""Pixels on a side. For images up to this size, a ResNet gets the stem that is usual for CIFAR."""


def build(
    spec: ModelSpec, *, num_classes: int, channels: int, image_size: int, seed: int
) -> nn.Module:
    """Builds a freshly initialised network: float32, on the CPU, in train mode.

    No network is pretrained. Networks of timm are as timm makes them, with one exception: ResNets
    whose stem is one 7x7 convolution (`resnet18`, `resnet34`, `resnet50`, ...), for images up to
    64x64 pixels. Such a network differs from timm's:

    - Its stem is the one that is usual for CIFAR: one 3x3 convolution of stride 1, no pooling.
    - Its convolutions and linear layers have PyTorch's own initialisation.
    - For `resnet18` only: the residual branches do not start at zero.

    Args:
        spec: name, width, options and shards of the architecture.
        num_classes: number of logits.
        channels: channels of the images.
        image_size: pixels on a side of the images.
        seed: seed of the initialisation, which depends on nothing else. Global random generators
            keep their state.

    Raises:
        UserError: the message states what is allowed:

            - the architecture or an option is unknown,
            - the architecture cannot have this width,
            - the architecture cannot take images of this shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _make(spec, num_classes, channels, image_size)
    described: Any
    for described in members(model):
        described.input_shape = (channels, image_size, image_size)  # `input_layer` reads this
    return model


@dataclass(frozen=True)
class Architecture:
    """A network but for its weights: all that a fresh one is made of."""

    spec: ModelSpec
    """Name, width, options and shards."""
    num_classes: int
    """Number of logits, K."""
    channels: int
    """Channels of the images."""
    image_size: int
    """Pixels on a side."""

    def fresh(self, seed: int, device: torch.device | str = "cpu") -> nn.Module:
        """A newly initialised network in train mode, a function of the seed alone."""
        return build(
            self.spec,
            num_classes=self.num_classes,
            channels=self.channels,
            image_size=self.image_size,
            seed=seed,
        ).to(device)


def check(spec: ModelSpec, *, channels: int, image_size: int) -> None:
    """Refuses an architecture that cannot be built, in little time and memory.

    The networks of this package were checked with their task. Those of timm are built here without
    memory for their weights. A few of them cannot be built so; these are built for real.

    Args:
        spec: name, width and options of the architecture.
        channels: channels of the images.
        image_size: pixels on a side of the images.

    Raises:
        UserError: as in `build`.
    """
    if not architectures.needs_timm(spec.name, spec.options):
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            _make(spec, 2, channels, image_size)
    except UserError:
        build(spec, num_classes=2, channels=channels, image_size=image_size, seed=0)


def contiguous_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous copies on the CPU, without gradients, as safetensors writes them."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def features(model: nn.Module, images_NCHW: torch.Tensor) -> torch.Tensor:
    """Computes the penultimate features: the input of the classifier, which is a linear layer.

    Args:
        model: a network from `build`. Its mode, train or eval, stays unchanged.
        images_NCHW: normalised images (N, C, H, W), on the model's device.

    Returns:
        Features (N, D).
    """
    network: Any = model
    out: torch.Tensor = network.forward_head(network.forward_features(images_NCHW), pre_logits=True)
    return out.flatten(1)


_OPENED = ("body", "blocks", "stages", "layers")
"""Children of a network that are no block but a row of blocks, by name."""


def stages(model: nn.Module) -> list[nn.Module]:
    """The blocks of a network from input to output, the head last.

    - `resnet18` and other ResNets: stem, four stages of residual blocks, head.
    - `allcnn`: eight convolutions with their batch norms, head.
    - `vit` and other transformers: embedding, the blocks, head.
    - An ensemble: in each place a `ModuleList` of the members' blocks.

    A lone layer belongs to the block before it, such as a last norm. Parameters that are of no
    layer, such as a table of positions, belong to no block.

    Args:
        model: a network from `build`, or a deep copy of one.

    Returns:
        Blocks whose parameters are the network's own. Some are a `ModuleList` and cannot be called.
    """
    if isinstance(model, Ensemble):
        return [nn.ModuleList(blocks) for blocks in zip(*map(stages, model.members), strict=True)]
    rows = [
        list(child.children()) if name in _OPENED else [child]
        for name, child in model.named_children()
    ]
    parts = [part for row in rows for part in row if any(True for _ in part.parameters())]
    blocks: list[list[nn.Module]] = []
    for part in parts[:-1]:
        if blocks and not any(part.children()):
            blocks[-1].append(part)
        else:
            blocks.append([part])
    blocks.append(parts[-1:])
    return [block[0] if len(block) == 1 else nn.ModuleList(block) for block in blocks]


class _Reached(Exception):  # noqa: N818 - a way out, not an error
    """Raised in a forward pass to end the pass at its first layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer


def input_layer(model: nn.Module) -> nn.Module:
    """Finds the first layer with parameters that images pass. Its input has one row per image.

    A forward pass of one image finds the layer and ends there. Nothing behind that layer runs, no
    state changes, and hooks that are already on the layer are not called.

    Args:
        model: a network from `build` that is no ensemble, or a deep copy of one.
    """

    def stop(layer: nn.Module, _args: object) -> None:
        raise _Reached(layer)

    network: Any = model
    example_1CHW = torch.zeros(1, *network.input_shape, device=next(model.parameters()).device)
    layers = list(model.modules())
    modes = [layer.training for layer in layers]
    hooks = [
        layer.register_forward_pre_hook(stop, prepend=True)
        for layer in layers
        if not any(layer.children()) and any(True for _ in layer.parameters())
    ]
    try:
        model.eval()  # otherwise dropout on the input would draw from the global generator
        model(example_1CHW)
    except _Reached as reached:
        return reached.layer
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
    raise AssertionError("a forward pass reached no layer with parameters")


def _make(spec: ModelSpec, num_classes: int, channels: int, image_size: int) -> nn.Module:
    if spec.shards is None:
        return _make_one(spec, num_classes, channels, image_size)
    each = (_make_one(spec, num_classes, channels, image_size) for _ in range(spec.shards))
    return Ensemble(each)


def _make_one(spec: ModelSpec, num_classes: int, channels: int, image_size: int) -> nn.Module:
    match spec.name:
        case "allcnn":
            return AllCNN(
                num_classes=num_classes,
                channels=channels,
                width=spec.width or architectures.WIDTHS["allcnn"],
                options=architectures.allcnn_options(spec.options),
            )
        case "vit":
            from .vit import VisionTransformer  # here: imports timm

            return VisionTransformer(
                num_classes=num_classes,
                channels=channels,
                image_size=image_size,
                dim=spec.width or architectures.WIDTHS["vit"],
                options=architectures.vit_options(spec.options),
            )
        case _:
            return _make_timm(spec, num_classes, channels, image_size)


def _make_timm(spec: ModelSpec, num_classes: int, channels: int, image_size: int) -> nn.Module:
    import timm  # here: two seconds, and not every network needs it
    from timm.models.resnet import ResNet

    name = spec.name
    known = timm.list_models()
    if name not in known:
        raise UserError(
            f"unknown model {name!r}{did_you_mean(name, ['allcnn', 'vit', *known])} "
            "Known are allcnn, resnet18, vit and every name in `timm.list_models()`."
        )
    architectures.check(name, spec.width, spec.options, image_size)
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        arguments["img_size"] = image_size
    if name == "resnet18":
        arguments |= _resnet18_arguments(architectures.resnet18_width(spec.width))
        arguments["zero_init_last"] = image_size > LARGEST_SMALL_IMAGE
    if spec.options:
        _check_timm_options(spec, arguments)
        arguments |= spec.options
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        if isinstance(model, ResNet):
            _replace_stem(model, plain=name == "resnet18", small=image_size <= LARGEST_SMALL_IMAGE)
        _check_output(model, torch.zeros(1, channels, image_size, image_size), num_classes)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"timm cannot make {name!r} with options {spec.options} for {image_size}x{image_size} "
            f"images: {' '.join(str(error).split())}"
        ) from error
    return model


def _resnet18_arguments(width: int) -> dict[str, Any]:
    """The arguments that give timm's ResNet a first stage of `width` channels.

    timm's plain stem always has 64 channels, but its deep stem has twice `stem_width`. So timm
    makes a deep stem here, and `_replace_stem` replaces it by a plain convolution.
    """
    channels = tuple(width * 2**stage for stage in range(4))
    return {"stem_type": "deep", "stem_width": width // 2, "channels": channels}


def _replace_stem(model: Any, *, plain: bool, small: bool) -> None:
    """Replaces the stem of a ResNet, unless the network is meant to have a deep stem.

    Args:
        model: timm's ResNet, changed in place.
        plain: True replaces also a deep stem.
        small: True puts in the CIFAR stem, and False one 7x7 convolution of stride 2.
    """
    if not (plain or isinstance(model.conv1, nn.Conv2d)):
        return
    size, stride = (3, 1) if small else (7, 2)
    model.conv1 = nn.Conv2d(
        model.in_chans, model.bn1.num_features, size, stride, padding=size // 2, bias=False
    )
    if small:
        model.maxpool = nn.Identity()
        # timm initialises ResNets for long trainings on ImageNet, with residual branches at zero.
        # In short trainings on small images, a network with PyTorch's own initialisation memorises
        # the training set, and one with timm's does not.
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
    else:
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # timm's


def _check_timm_options(spec: ModelSpec, arguments: dict[str, Any]) -> None:
    """Refuses options that the network's class does not take, such as timm's to load weights."""
    import timm

    with torch.random.fork_rng(devices=[]):  # so that options do not change the initial weights
        kind = type(timm.create_model(spec.name, pretrained=False))
    known = sorted(
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if isinstance(parameter.default, bool | int | float | str) and name not in arguments
    )
    unknown = {name: "" for name in spec.options if name not in known}
    if unknown:
        raise architectures.wrong_options(spec.name, unknown, known)


def _check_output(model: nn.Module, images_NCHW: torch.Tensor, num_classes: int) -> None:
    """Runs the network on one image, to see that its logits and features have the right shapes.

    Because some networks of timm take images of one size only, and some have no plain head.
    """
    with torch.no_grad():
        model.eval()
        logits_shape = tuple(model(images_NCHW).shape)
        features(model, images_NCHW)
        model.train()
    if logits_shape != (1, num_classes):
        raise UserError(f"its output for one image has the shape {logits_shape}")
