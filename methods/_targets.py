"""What the samples of D_f are to give out, as a table of probabilities.

A wrong label drawn at random is as far from a gold's output as the truth is. So even right marks do
not come nearer to a gold by it. Where a gold is wrong, it mostly names the class that other models
name second.

Suffixes: N samples of D_f, K classes.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def target_table(
    kind: Literal["uniform", "runner-up", "soft", "nudge", "ascent"],
    logits_NK: Tensor,
    labels_N: Tensor,
    is_hard_N: Tensor,
    wrong_N: Tensor,
    *,
    weight: float,
) -> Tensor:
    """Target probabilities, (N, K).

    - `uniform`: all on a given wrong label for the hard, on the truth for the easy.
    - `runner-up`: for the hard, `weight` on the likeliest wrong class and the rest on the truth.
    - `soft`: the model's own output. Where that and the mark disagree, truth and likeliest wrong
      class change places, and the winner gets at least `weight` of what the two have together.
    - `nudge`: as `soft`, but the winner gets exactly that share, so that a sample which the model
      is sure of goes no further than over the line.
    - `ascent`: all on the truth, from which the hard climb away.

    Args:
        kind: which of these.
        logits_NK: a model's.
        labels_N: the truth.
        is_hard_N: bool, whether a sample is to be wrong.
        wrong_N: wrong labels.
        weight: of the new winner.
    """
    truth_NK = F.one_hot(labels_N, logits_NK.shape[1]).to(logits_NK.dtype)
    if kind == "ascent":
        return truth_NK
    if kind == "uniform":
        return F.one_hot(wrong_N.where(is_hard_N, labels_N), logits_NK.shape[1]).to(logits_NK.dtype)
    second_N = logits_NK.masked_fill(truth_NK.bool(), -float("inf")).argmax(1)
    if kind == "runner-up":
        second_NK = F.one_hot(second_N, logits_NK.shape[1]).to(logits_NK.dtype)
        return truth_NK.lerp(second_NK, weight).where(is_hard_N[:, None], truth_NK)
    own_NK = logits_NK.softmax(1)
    pair_N2 = torch.stack([labels_N, second_N], dim=1)  # the truth, then the likeliest wrong class
    pair_N2 = pair_N2.where(is_hard_N[:, None], pair_N2.flip(1))  # the loser, then the winner
    loser_N, winner_N = own_NK.gather(1, pair_N2).unbind(1)
    both_N = loser_N + winner_N
    new_N = weight * both_N
    if kind == "soft":
        new_N = torch.maximum(loser_N, new_N)
    flipped_NK = own_NK.scatter(1, pair_N2, torch.stack([both_N - new_N, new_N], dim=1))
    return flipped_NK.where((winner_N < loser_N)[:, None], own_NK)
