"""The forget set of TMU's twin problem, D_t (arXiv:2408.11433, section 4.2)."""

import math
from typing import Literal

import torch

from mubench import Problem, Samples


def twin_sets(
    problem: Problem,
    forget: Samples,
    *,
    like: Literal["forget", "all"],
    size: Literal["eq3", "class", "all"],
    most: int,
    enough_rows: int,
) -> list[Samples]:
    """Draws D_t from the holdout, class by class; several that are disjoint if that has enough.

    Where it has too few, flipped and cropped copies fill D_t up.

    Args:
        problem: must give `retain` and `holdout`.
        forget: D_f.
        like: whose classes D_t has, in their proportion: D_f's or all of the holdout's.
        size: of each D_t; see `num_rows`.
        most: draw at most so many.
        enough_rows: stop at so many samples.
    """
    holdout = problem.subset(problem.holdout, len(problem.holdout))  # shuffled
    labels = forget.labels if like == "forget" else holdout.labels
    classes, counts = torch.unique(labels, return_counts=True)
    pools = [(holdout.labels == label).nonzero().squeeze(1) for label in classes]
    if not (num_held_out := sum(map(len, pools))):
        raise ValueError("TMU needs held-out samples of the classes of D_f; there are none")
    rows = num_held_out if size == "all" else num_rows(problem, forget, size)
    wanted = [max(1, round(rows * count / len(labels))) for count in counts.tolist()]
    drawn = [(pool, count) for pool, count in zip(pools, wanted, strict=True) if len(pool)]
    num_disjoint = min(len(pool) // count for pool, count in drawn)
    num_sets = max(1, min(most, math.ceil(enough_rows / rows), num_disjoint))
    return [_draw(problem, holdout, drawn, number) for number in range(num_sets)]


def num_rows(problem: Problem, forget: Samples, size: Literal["eq3", "class"]) -> int:
    """|D_t| by Eq. 3, n_f / n_r = |D_t| / (n_r + n_f): of all of D, or of each class on its own."""
    retain = problem.retain
    if size == "eq3":
        return max(1, round(len(forget) * (len(forget) + len(retain)) / len(retain)))
    forget_K = forget.labels.bincount(minlength=problem.num_classes)
    retain_K = retain.labels.bincount(minlength=problem.num_classes)
    rows_K = forget_K * (forget_K + retain_K) / retain_K.clamp_min(1)
    return max(1, round(rows_K.sum().item()))


def _draw(
    problem: Problem, holdout: Samples, drawn: list[tuple[torch.Tensor, int]], number: int
) -> Samples:
    images, labels = [], []
    for pool, count in drawn:
        place = torch.arange(number * count, (number + 1) * count, device=pool.device)
        chosen = holdout[pool[place % len(pool)]]
        is_copy = place >= len(pool)
        if is_copy.any():
            chosen.images[is_copy] = problem.augment(chosen.images[is_copy])
        images.append(chosen.images)
        labels.append(chosen.labels)
    return Samples(torch.cat(images), torch.cat(labels))
