"""The ViT of "Vision Transformer for Small-Size Datasets" (arXiv:2112.13492).

The code follows the paper. Where the paper says nothing (which layers have biases, initialisation),
it follows the authors' code, https://github.com/aanna0701/SPT_LSA_ViT.

Shape suffixes: N images, C channels, H and W pixels, T tokens, D features of a token, A attention
heads, E = D / A features of a head, P values of a patch, K classes.
"""

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import nn

from mubench.task.architectures import ViTOptions, check_vit


class ShiftedPatchTokens(nn.Module):
    """Shifted patch tokenization: tokens of an image and its four diagonal shifts (section 3.2).

    Args:
        channels: channels of the images.
        dim: features of a token.
        patch: pixels on a side of a patch; the shifts are half of it.
    """

    def __init__(self, *, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        patch_dim = 5 * channels * patch**2
        self.norm = nn.LayerNorm(patch_dim)
        self.project = nn.Linear(patch_dim, dim)

    def patches(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """The values of every patch: (N, T, P), zero where a shift leaves the image.

        P runs over image and shifts, channels, rows and columns; T over rows of patches.
        """
        height, width = images_NCHW.shape[2:]
        shift = self.patch // 2
        padded = F.pad(images_NCHW, (shift, shift, shift, shift))
        shifted = [
            padded[:, :, top : top + height, left : left + width]
            for top in (0, 2 * shift)
            for left in (0, 2 * shift)
        ]
        stacked = torch.cat([images_NCHW, *shifted], dim=1)
        return F.pixel_unshuffle(stacked, self.patch).flatten(2).transpose(1, 2)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Tokens (N, T, D) of normalised images."""
        tokens_NTD: torch.Tensor = self.project(self.norm(self.patches(images_NCHW)))
        return tokens_NTD


class LocalSelfAttention(nn.Module):
    """Locality self-attention: learned temperatures, and no token attends to itself (section 3.3).

    Args:
        dim: features of a token.
        heads: number of attention heads, a divisor of `dim`.
        num_tokens: number of tokens T, at least 2.
        dropout: probability of dropout after the output projection.
    """

    mask: torch.Tensor

    def __init__(self, *, dim: int, heads: int, num_tokens: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.scale = nn.Parameter(torch.full((heads,), (dim // heads) ** -0.5))
        """(A,): one over the temperature of each head."""
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        mask_TT = torch.zeros(num_tokens, num_tokens).fill_diagonal_(float("-inf"))
        self.register_buffer("mask", mask_TT, persistent=False)

    def attend(
        self, q_NATE: torch.Tensor, k_NATE: torch.Tensor, v_NATE: torch.Tensor
    ) -> torch.Tensor:
        """Attention, softmax(scale q kᵀ, without the diagonal) v.

        Args:
            q_NATE: queries (N, A, T, E).
            k_NATE: keys (N, A, T, E).
            v_NATE: values (N, A, T, E).

        Returns:
            Outputs (N, A, T, E).
        """
        # The fused kernel takes one scale for all heads. So each head's own scale is multiplied
        # into its queries.
        scaled_NATE = q_NATE * self.scale[:, None, None]
        return F.scaled_dot_product_attention(
            scaled_NATE, k_NATE, v_NATE, attn_mask=self.mask, scale=1.0
        )

    def forward(self, tokens_NTD: torch.Tensor) -> torch.Tensor:
        """Tokens (N, T, D) after attention."""
        qkv_NTAE = self.qkv(tokens_NTD).unflatten(2, (3, self.heads, -1))
        q_NATE, k_NATE, v_NATE = qkv_NTAE.permute(2, 0, 3, 1, 4)
        out_NTD = self.attend(q_NATE, k_NATE, v_NATE).transpose(1, 2).flatten(2)
        projected_NTD: torch.Tensor = self.dropout(self.project(out_NTD))
        return projected_NTD


class Block(nn.Module):
    """Attention and MLP, each on normalised tokens and each with a residual path.

    Args:
        dim: features of a token.
        num_tokens: number of tokens T, at least 2.
        options: the remaining choices.
    """

    def __init__(self, *, dim: int, num_tokens: int, options: ViTOptions) -> None:
        super().__init__()
        hidden = int(dim * options.mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = LocalSelfAttention(
            dim=dim, heads=options.heads, num_tokens=num_tokens, dropout=options.dropout
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(options.dropout),
        )
        self.drop_path = DropPath(options.drop_path)

    def forward(self, tokens_NTD: torch.Tensor) -> torch.Tensor:
        """Tokens (N, T, D) after the block."""
        tokens_NTD = tokens_NTD + self.drop_path(self.attention(self.norm1(tokens_NTD)))
        tokens_NTD = tokens_NTD + self.drop_path(self.mlp(self.norm2(tokens_NTD)))
        return tokens_NTD


class VisionTransformer(nn.Module):
    """Shifted patch tokens and a class token, blocks of locality self-attention, a linear head.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        image_size: pixels on a side of the images.
        dim: features of a token.
        options: the remaining choices.

    Raises:
        UserError: the patch does not divide the image, or the heads do not divide `dim`.
    """

    def __init__(
        self, *, num_classes: int, channels: int, image_size: int, dim: int, options: ViTOptions
    ) -> None:
        super().__init__()
        check_vit(options, dim, image_size)
        num_tokens = (image_size // options.patch) ** 2 + 1
        self.tokens = ShiftedPatchTokens(channels=channels, dim=dim, patch=options.patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, num_tokens, dim))
        self.blocks = nn.Sequential(
            *(Block(dim=dim, num_tokens=num_tokens, options=options) for _ in range(options.depth))
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        self.apply(_init_linear)

    def forward_features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Tokens (N, T, D) after the last block, the class token first."""
        patches_NTD = self.tokens(images_NCHW)
        class_N1D = self.class_token.expand(len(patches_NTD), -1, -1)
        tokens_NTD: torch.Tensor = self.blocks(
            torch.cat([class_N1D, patches_NTD], dim=1) + self.positions
        )
        return tokens_NTD

    def forward_head(self, tokens_NTD: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits (N, K) from the class token, or with `pre_logits` its features (N, D)."""
        features_ND: torch.Tensor = self.norm(tokens_NTD[:, 0])
        return features_ND if pre_logits else self.head(features_ND)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of normalised images."""
        return self.forward_head(self.forward_features(images_NCHW))


def _init_linear(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
