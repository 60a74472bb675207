"""l1-sparse: "Model Sparsity Can Simplify Machine Unlearning" (NeurIPS 2023, arXiv:2304.04934).

Fine-tuning on D_r with an l1 penalty on the weights, which falls to zero over the training, so that
the last epochs repair. The authors' code has .2 for gamma by default, which leaves no model; later
work and this take 5e-4.
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
class L1Sparse:
    """Train on with D_r under a fading l1 penalty (arXiv:2304.04934)."""

    requires: ClassVar[frozenset[str]] = frozenset({"retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 10, "batch_size": 256, "with_batch_norm": True}
    }

    gamma: Annotated[float, Ge(0), Search(1e-6, 1e-3, log=True)] = 5e-4  # of the penalty in the
    # first epoch
    epochs: Annotated[int, Ge(1)] | None = None  # None: 0.2 of the original's epochs
    lr: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.01  # step size of SGD
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9  # of SGD
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # as the paper's originals were trained
    batch_size: Annotated[int, Ge(2)] | None = None  # samples per step; None: the recipe's
    with_batch_norm: bool = False  # whether the penalty is also on batch norm and biases, as in the
    # authors' code; sparse there, channels vanish

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, trained on with D_r to fewer weights."""
        model = problem.original
        epochs = problem.schedule_share(self.epochs, 0.2)
        penalised = [p for p in model.parameters() if self.with_batch_norm or p.ndim > 1]
        done = 0

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            l1 = torch.stack([p.abs().sum() for p in penalised]).sum()
            gamma = self.gamma * (1 - done / epochs)
            return F.cross_entropy(logits_NK, batch.labels_N) + gamma * l1

        def next_epoch() -> bool:
            nonlocal done
            done += 1
            return False

        problem.fine_tune(
            model,
            problem.retain,
            epochs=epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            loss=loss,
            stop=next_epoch,
        )
        return model
