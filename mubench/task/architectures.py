"""The networks of this package by name: which options and widths each can have.

Nothing here imports torch, so a task is checked before anything is loaded. What timm makes of its
own networks, only timm can tell: see `mubench.training.networks`.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, TypeVar

from annotated_types import Ge, Gt, Interval
from pydantic import BaseModel, ValidationError

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean


class AllCNNOptions(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """The options of All-CNN-C that a task may set, besides the width."""

    dropout: bool = False
    """True adds the paper's dropout: 0.2 on the input, 0.5 after each convolution of stride 2."""


class ViTOptions(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """The options of the ViT that a task may set, besides the width.

    The defaults are the paper's for 32x32 images.
    """

    depth: Annotated[int, Interval(ge=1, le=1000)] = 9
    """Number of blocks."""
    heads: Annotated[int, Ge(1)] = 12
    """Number of attention heads; must divide the width."""
    patch: Annotated[int, Ge(2)] = 4
    """Pixels on a side of a patch; must divide the image size. The paper has 8 for 64x64 images."""
    mlp_ratio: Annotated[float, Gt(0), Interval(le=1000)] = 2.0
    """Hidden units of a block's MLP, as a multiple of the width."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout after every attention and MLP layer."""
    drop_path: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of skipping a residual branch (stochastic depth). The paper trains with 0.1."""


WIDTHS = {"allcnn": 96, "resnet18": 64, "vit": 192}
"""The published width of each network whose width can be set."""

Options = Mapping[str, bool | int | float | str]

_Kind = TypeVar("_Kind", bound=BaseModel)


def check(name: str, width: int | None, options: Options, image_size: int) -> None:
    """Refuses what a network cannot have, as far as that is known without timm.

    Args:
        name: the architecture.
        width: None for the published width.
        options: by name.
        image_size: pixels on a side of the images.

    Raises:
        UserError: the message says what is allowed.
    """
    if width is not None and name not in WIDTHS:
        raise UserError(
            f"the width of model {name!r} cannot be set: leave `width` out"
            f"{did_you_mean(name, WIDTHS)}"
        )
    if name == "resnet18":
        resnet18_width(width)
    elif name == "allcnn":
        allcnn_options(options)
    elif name == "vit":
        check_vit(vit_options(options), width or WIDTHS["vit"], image_size)


def needs_timm(name: str, options: Options) -> bool:
    """True if only timm can tell whether a network can have its options, or whether there is one.

    Args:
        name: the architecture.
        options: by name.
    """
    return name not in WIDTHS or (name == "resnet18" and bool(options))


def resnet18_width(width: int | None) -> int:
    """Channels of the first stage of a `resnet18`.

    Raises:
        UserError: the width is odd.
    """
    if width and width % 2:
        raise UserError(f"resnet18 cannot have an odd width, but width = {width}")
    return width or WIDTHS["resnet18"]


def allcnn_options(options: Options) -> AllCNNOptions:
    """The options of an `allcnn`.

    Raises:
        UserError: an option is unknown, or does not take its value.
    """
    return _read("allcnn", options, AllCNNOptions)


def vit_options(options: Options) -> ViTOptions:
    """The options of a `vit`.

    Raises:
        UserError: an option is unknown, or does not take its value.
    """
    return _read("vit", options, ViTOptions)


def check_vit(options: ViTOptions, width: int, image_size: int) -> None:
    """Refuses a `vit` that cannot be.

    Args:
        options: its options.
        width: features of a token.
        image_size: pixels on a side of the images.

    Raises:
        UserError: the patch does not divide the image, or the heads do not divide the width.
    """
    if image_size % options.patch:
        raise UserError(
            f"vit cannot cut {image_size}x{image_size} images into patches of "
            f"{options.patch} pixels; set the option `patch` to a divisor of {image_size}"
        )
    if width % options.heads:
        raise UserError(
            f"vit cannot share a width of {width} among {options.heads} heads; "
            f"set the option `heads` to a divisor of {width}"
        )


def wrong_options(name: str, mistakes: Mapping[str, str], known: Collection[str]) -> UserError:
    """An error that lists each wrong option with its mistake, and names all known options.

    Args:
        name: the architecture.
        mistakes: what is wrong with each wrong option, by name.
        known: the options that the architecture takes.
    """
    lines = [
        f"{option}: {mistake if option in known else f'unknown{did_you_mean(option, known)}'}"
        for option, mistake in mistakes.items()
    ]
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return UserError(f"model {name!r} has wrong options; {takes}; {'; '.join(lines)}")


def _read(name: str, options: Options, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        mistakes = {str(item["loc"][0]): item["msg"] for item in error.errors()}
        raise wrong_options(name, mistakes, kind.model_fields) from None
