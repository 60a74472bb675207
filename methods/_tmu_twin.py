"""TMU's twin problem: the forget set D_t and the twin M_t (arXiv:2408.11433, section 4.2)."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from mubench import Problem, Samples


@dataclass(frozen=True, kw_only=True)
class Twin:
    """How twins are made. None is made where nothing is learned on them."""

    classes: Literal["forget", "all"] = "forget"  # of D_t: those of D_f, in proportion, as how many
    # are hard differs between classes; the paper does not say
    size: Literal["eq3", "class", "all"] = "eq3"  # |D_t|: Eq. 3; the same within the class; all
    # held-out samples, as in the code
    pool: Annotated[int, Ge(1)] = 5  # most twins on disjoint parts of the holdout, pooled: at
    # |D_f| = 100 the 15 or so hard samples of one D_t are too few to learn from
    rows: Annotated[int, Ge(1)] = 500  # no more twins than give so many samples
    epochs: Annotated[int, Ge(1)] = 4  # at most: ends once M_t is right on D_t as often as M_o is
    # on D_f, so that membership looks the same
    repeats: Annotated[int, Ge(1)] = 5  # most visits to D_t in such an epoch, half of which is
    # replay at least
    lr: Annotated[float, Gt(0)] = 0.01  # step size of SGD with momentum .9
    replay_share: Annotated[float, Interval(gt=0, le=1)] = 0.05  # of D that is replayed, no less
    # than |D_t|: on D_t alone M_t would collapse to its class

    def sets(self, problem: Problem, forget: Samples) -> list[Samples]:
        """Draws D_t from the holdout, class by class; several that are disjoint, if it has enough.

        Where it has too few, flipped and cropped copies fill D_t up.

        Args:
            problem: must give `retain` and `holdout`.
            forget: D_f.
        """
        holdout = problem.subset(problem.holdout, len(problem.holdout))  # shuffled
        labels = forget.labels if self.classes == "forget" else holdout.labels
        classes, counts = torch.unique(labels, return_counts=True)
        pools = [(holdout.labels == label).nonzero().squeeze(1) for label in classes]
        if not (num_held_out := sum(map(len, pools))):
            raise ValueError("TMU needs held-out samples of the classes of D_f; there are none")
        rows = num_held_out if self.size == "all" else num_rows(problem, forget, self.size)
        wanted = [max(1, round(rows * count / len(labels))) for count in counts.tolist()]
        drawn = [(pool, count) for pool, count in zip(pools, wanted, strict=True) if len(pool)]
        num_disjoint = min(len(pool) // count for pool, count in drawn)
        num_sets = max(1, min(self.pool, math.ceil(self.rows / rows), num_disjoint))
        return [_draw(problem, holdout, drawn, number) for number in range(num_sets)]

    def model(self, problem: Problem, everything: Samples, part: Samples) -> nn.Module:
        """M_t: M_o, fine-tuned until it knows D_t as well as M_o knows D_f.

        Args:
            problem: must give `forget`.
            everything: D, without the classes that are gone.
            part: D_t.
        """
        original = problem.original
        twin = problem.copy(original)
        enough = problem.correct(original, problem.forget).float().mean()
        num_replayed = max(round(self.replay_share * len(everything)), len(part))
        replay = problem.subset(everything, num_replayed)
        repeats = max(1, min(self.repeats, len(replay) // len(part)))
        repeated = part[torch.arange(len(part), device=problem.device).repeat(repeats)]
        problem.fine_tune(
            twin,
            repeated + replay,
            epochs=self.epochs,
            lr=self.lr,
            stop=lambda: bool(problem.correct(twin, part).float().mean() >= enough),
        )
        return twin


TWIN = Twin()


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
