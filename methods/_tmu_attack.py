"""AF, the adversarial feature of TMU (arXiv:2408.11433, section 4.3), and its attack."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem, Samples

CHUNK = 500  # samples at a time: bounds memory at any size of D_f


def attack(
    problem: Problem,
    model: nn.Module,
    samples: Samples,
    *,
    eps: float,
    steps: int,
    step_size: float,
    clamp: bool = True,
) -> Tensor:
    """Untargeted projected gradient descent (arXiv:1706.06083) without a random start.

    Args:
        problem: normalises the pixels.
        model: in eval mode.
        samples: N to attack, away from their true labels.
        eps: most that a pixel may change, of 255.
        steps: of the attack.
        step_size: of 255.
        clamp: whether pixels stay in 0..255.

    Returns:
        Float (N, C, H, W) pixels.
    """
    clean = samples.images.float()
    attacked = clean
    for _ in range(steps):
        attacked = attacked.detach().requires_grad_()
        with problem.autocast():
            logits_NK = model(problem.normalise(attacked))
        loss = F.cross_entropy(logits_NK.float(), samples.labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, attacked)
        attacked = attacked.detach() + step_size * gradient.sign()
        attacked = attacked.clamp(clean - eps, clean + eps)
        if clamp:
            attacked = attacked.clamp(0, 255)
    return attacked.detach()


def adversarial(
    problem: Problem,
    model: nn.Module,
    samples: Samples,
    *,
    eps: float,
    steps: int,
    variant: Literal["pgd", "code"],
) -> Tensor:
    """AF, Eq. 6: H(s(x~), s(x)), how far the prediction moves under attack.

    The clean output is the reference, as in the released code: H = -sum_k p_k(x) log p_k(x~), and
    the value is log(1 + H). Variant `code` is all as released: 5 steps of eps/3, pixels unclamped,
    raw clean logits in the place of p(x), and no logarithm since that sum can be negative.
    """
    value = []
    for first in range(0, len(samples), CHUNK):
        chunk = samples[first : first + CHUNK]
        if variant == "code":
            attacked = attack(
                problem, model, chunk, eps=eps, steps=5, step_size=eps / 3, clamp=False
            )
        else:
            attacked = attack(problem, model, chunk, eps=eps, steps=steps, step_size=eps / 4)
        with torch.no_grad():
            clean_NK = model(problem.normalise(chunk.images))
            log_attacked_NK = model(problem.normalise(attacked)).log_softmax(1)
        reference_NK = clean_NK if variant == "code" else clean_NK.softmax(1)
        entropy_N = -(reference_NK * log_attacked_NK).sum(1)
        value.append(entropy_N if variant == "code" else entropy_N.log1p())
    return torch.cat(value)
