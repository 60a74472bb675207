"""Bad Teacher: "Can Bad Teaching Induce Forgetting?" (AAAI 2023, arXiv:2205.08096).

A student that starts as the original learns D_f from an untrained network and D_r from the
original. The authors' code averages the divergence over classes too and leaves the student's mode
to chance; here it is summed over classes, both teachers are in eval and the student in train mode.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Batch, Problem, Search


@dataclass(frozen=True, kw_only=True)
class BadTeacher:
    """Distil D_f from an untrained network, D_r from the original (arXiv:2205.08096)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 1, "lr": 1e-4, "batch_size": 256, "retain_share": 0.3},
    }

    epochs: Annotated[int, Ge(1), Search(1, 5)] = 1  # passes over D_f and the share of D_r; the
    # paper's
    lr: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 1e-4  # step size of Adam
    batch_size: Annotated[int, Ge(2)] = 256  # the authors' code
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.3  # of D_r that the student sees
    temperature: Annotated[float, Gt(0), Search(0.5, 4, log=True)] = (
        1.0  # T of teachers and student
    )

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the student."""
        good = problem.original
        bad = problem.fresh_network().eval()
        student = problem.copy(good)
        forget = problem.forget

        def divergence(logits_NK: Tensor, batch: Batch) -> Tensor:
            """Eq. 1: KL(l T_d + (1 - l) T_s || S), where l is 1 on D_f."""
            is_forget_N = batch.index_N < len(forget)
            with torch.no_grad(), problem.autocast():
                target_NK = good(batch.images_NCHW).float()
                if is_forget_N.any():
                    target_NK[is_forget_N] = bad(batch.images_NCHW[is_forget_N]).float()
            return F.kl_div(
                (logits_NK / self.temperature).log_softmax(1),
                (target_NK / self.temperature).softmax(1),
                reduction="batchmean",
            )

        problem.fine_tune(
            student,
            forget + problem.share(problem.retain, self.retain_share),
            epochs=self.epochs,
            lr=self.lr,
            optimizer="adamw",  # without weight decay: Adam
            batch_size=self.batch_size,
            loss=divergence,
        )
        return student
