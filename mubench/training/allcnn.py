"""All-CNN-C of "Striving for Simplicity: The All Convolutional Net" (arXiv:1412.6806), table 1.

Two details differ from the paper, as is usual in work on unlearning:

- Batch norm follows every convolution.
- A linear classifier follows the average pooling. The paper has a 1x1 convolution with a ReLU
  before the pooling. So the pooled channels are the penultimate features.

All 3x3 convolutions pad by one pixel.

Shape suffixes: N images, C channels, H and W pixels, D features, K classes.
"""

import torch
from torch import nn

from mubench.task.architectures import AllCNNOptions

INPUT_DROPOUT = 0.2
STRIDE_DROPOUT = 0.5


class AllCNN(nn.Module):
    """Eight convolutions, two of them with stride 2, then global average pooling.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        width: filters of the first three convolutions. The other five have twice as many.
        options: the remaining choices.
    """

    def __init__(
        self, *, num_classes: int, channels: int, width: int, options: AllCNNOptions
    ) -> None:
        super().__init__()
        wide = 2 * width
        stride_dropout = STRIDE_DROPOUT if options.dropout else 0.0
        self.body = nn.Sequential(
            nn.Dropout(INPUT_DROPOUT if options.dropout else 0.0),
            _conv(channels, width),
            _conv(width, width),
            _conv(width, width, stride=2),
            nn.Dropout(stride_dropout),
            _conv(width, wide),
            _conv(wide, wide),
            _conv(wide, wide, stride=2),
            nn.Dropout(stride_dropout),
            _conv(wide, wide),
            _conv(wide, wide, kernel_size=1),
        )
        self.head = nn.Linear(wide, num_classes)

    def forward_features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """The last feature map: (N, D, H / 4, W / 4), D = 2 * width."""
        maps_NDHW: torch.Tensor = self.body(images_NCHW)
        return maps_NDHW

    def forward_head(self, maps_NDHW: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits (N, K) from the last feature map, or with `pre_logits` its average (N, D)."""
        features_ND = maps_NDHW.mean((2, 3))
        return features_ND if pre_logits else self.head(features_ND)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of normalised images."""
        return self.forward_head(self.forward_features(images_NCHW))


def _conv(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
