"""The ViT's own parts: its tokens and its attention."""

import pytest
import torch
import torch.nn.functional as F

from mubench.training.vit import LocalSelfAttention, ShiftedPatchTokens
from tests.helpers.networks import images


def naive_patches(image_CHW: torch.Tensor, patch: int) -> torch.Tensor:
    channels, size, _ = image_CHW.shape
    half = patch // 2
    tokens = []
    for row in range(0, size, patch):
        for column in range(0, size, patch):
            values = []
            for down, right in ((0, 0), (-half, -half), (-half, half), (half, -half), (half, half)):
                for channel in range(channels):
                    for y in range(row + down, row + down + patch):
                        for x in range(column + right, column + right + patch):
                            inside = 0 <= y < size and 0 <= x < size
                            values.append(image_CHW[channel, y, x].item() if inside else 0.0)
            tokens.append(values)
    return torch.tensor(tokens)


@pytest.mark.parametrize("patch", [2, 3, 4])
def test_tokens_are_patches_of_the_image_and_its_diagonal_shifts(patch):
    tokens = ShiftedPatchTokens(channels=2, dim=6, patch=patch)
    batch = images(channels=2, size=12, num=2)
    naive = torch.stack([naive_patches(image, patch) for image in batch])
    assert torch.equal(tokens.patches(batch), naive)
    expected = tokens.project(F.layer_norm(naive, naive.shape[-1:]))
    torch.testing.assert_close(tokens(batch), expected)


def test_attention_is_the_plain_formula():
    torch.manual_seed(0)
    attention = LocalSelfAttention(dim=12, heads=3, num_tokens=5, dropout=0.0)
    with torch.no_grad():
        attention.scale.copy_(torch.tensor([0.3, 1.0, 2.5]))
    tokens = torch.randn(2, 5, 12, requires_grad=True)
    out = attention(tokens)

    q, k, v = (tokens @ attention.qkv.weight.T).chunk(3, dim=-1)
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        scores = attention.scale[head] * q[..., part] @ k[..., part].transpose(1, 2)
        scores = scores.masked_fill(torch.eye(5, dtype=torch.bool), float("-inf"))
        heads.append(scores.softmax(-1) @ v[..., part])
    plain = F.linear(torch.cat(heads, -1), attention.project.weight, attention.project.bias)
    torch.testing.assert_close(out, plain)

    wanted = [tokens, *attention.parameters()]
    weights = torch.randn_like(out)
    grads = torch.autograd.grad((out * weights).sum(), wanted)
    plain_grads = torch.autograd.grad((plain * weights).sum(), wanted)
    torch.testing.assert_close(grads, plain_grads, rtol=1e-4, atol=1e-5)


def test_temperature_starts_at_the_root_of_the_head_size():
    attention = LocalSelfAttention(dim=32, heads=2, num_tokens=5, dropout=0.0)
    torch.testing.assert_close(1 / attention.scale, torch.full((2,), 4.0))
