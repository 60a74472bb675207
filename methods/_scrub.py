"""The passes of SCRUB: away from the teacher on D_f, towards it on D_r (arXiv:2302.09880).

Nothing says where "away" is. A student that the first min pass has made surer than its teacher can
be pushed on to be surer still, so that D_f is kept all the better.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search


@dataclass(frozen=True, kw_only=True)
class Passes:
    """A student that starts as the original and leaves it on D_f alone (eq. 3)."""

    epochs: Annotated[int, Ge(1), Search(2, 8, step=1)] = 5  # min passes, over the share of D_r
    max_epochs: Annotated[int, Ge(0), Search(1, 5, step=1)] = 3  # of these begin with a max pass
    # over D_f; in the first, student and teacher are one and nothing moves
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r, for cost; the paper's: all
    alpha: Annotated[float, Ge(0), Search(0.001, 1.0, log=True)] = 0.5  # weight of the teacher
    gamma: Annotated[float, Ge(0)] = 1.0  # weight of the labels
    temperature: Annotated[float, Gt(0)] = 4.0  # T of teacher and student
    lr: Annotated[float, Gt(0), Search(1e-4, 1e-2, log=True)] = 5e-4  # step size of SGD
    decay: Annotated[float, Interval(gt=0, le=1)] = 0.1  # factor on lr after epochs 3, 5 and 9
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # of SGD
    forget_batch_size: Annotated[int, Ge(2), Search(choices=(8, 16, 32))] = 16  # decides how many
    # steps a max pass has
    retain_batch_size: Annotated[int, Ge(2)] = 32  # of min passes
    freeze_batch_norm: bool = True  # the paper's preset for 100 samples of one class

    def students(self, problem: Problem) -> Iterator[nn.Module]:
        """The student before the first epoch and after each: always the same network.

        Args:
            problem: must give `forget` and `retain`. Its original is the teacher.
        """
        teacher, student = problem.original, problem.copy(problem.original)
        retain = problem.share(problem.retain, self.retain_share)
        trainer = problem.trainer(
            student,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.retain_batch_size,
            freeze_batch_norm=self.freeze_batch_norm,
        )

        def divergence(logits_NK: Tensor, batch: Batch) -> Tensor:
            """T² KL(teacher || student) at temperature T (eq. 1)."""
            with torch.no_grad(), problem.autocast():
                target_NK = teacher(batch.images_NCHW)
            return self.temperature**2 * F.kl_div(
                (logits_NK / self.temperature).log_softmax(1),
                (target_NK.float() / self.temperature).softmax(1),
                reduction="batchmean",
            )

        def max_loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            return -divergence(logits_NK, batch)

        def min_loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            cross_entropy = F.cross_entropy(logits_NK, batch.labels_N)
            return self.alpha * divergence(logits_NK, batch) + self.gamma * cross_entropy

        yield student
        for epoch in range(1, self.epochs + 1):
            trainer.lr = self.lr * self.decay ** sum(epoch > last for last in (3, 5, 9))
            if epoch <= self.max_epochs:
                trainer.epoch(problem.forget, loss=max_loss, batch_size=self.forget_batch_size)
            trainer.epoch(retain, loss=min_loss)
            yield student


PASSES = Passes()  # the default of both that use it
