"""A training of several passes, between which the optimiser keeps its state."""

from collections.abc import Callable

from torch import nn

from mubench.task.data import Samples
from mubench.task.spec import TrainSpec
from mubench.training import loop
from mubench.training.loop import Loss, Pipeline


class Trainer:
    """Trains a model pass by pass. Made by `Problem.trainer`.

    Attributes:
        lr: step size of the next pass.
        model: what is trained, in eval mode between passes.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: TrainSpec,
        pipeline: Pipeline,
        next_seed: Callable[[], int],
        *,
        freeze_batch_norm: bool,
        max_norm: float | None,
    ):
        """Makes the optimiser, over the parameters that require gradients now.

        Args:
            model: to train.
            recipe: of a pass: one epoch at a constant rate.
            pipeline: the task's pipeline.
            next_seed: gives the seed of each pass.
            freeze_batch_norm: whether running statistics are used and stay as they are.
            max_norm: most that the norm of a gradient may be.
        """
        self.model = model
        self.lr = recipe.lr
        self._recipe = recipe
        self._pipeline = pipeline
        self._next_seed = next_seed
        self._optimizer = loop.make_optimizer(model, recipe)
        self._freeze_batch_norm = freeze_batch_norm
        self._max_norm = max_norm

    def epoch(
        self,
        samples: Samples,
        *,
        loss: Loss = loop.cross_entropy,
        batch_size: int | None = None,
        after_step: Callable[[], bool | None] | None = None,
    ) -> None:
        """One shuffled pass over samples.

        Args:
            samples: what to train on.
            loss: a function of (logits_NK, batch); `batch.index_N` are positions in `samples`.
            batch_size: samples per batch. None: the trainer's.
            after_step: a function that is called after each step, and may change weights; True ends
                the pass there.

        Raises:
            mubench.Diverged: the loss is not finite any more.
        """
        size = batch_size or self._recipe.batch_size
        loop.fit(
            self.model,
            samples,
            self._recipe.model_copy(update={"lr": self.lr, "batch_size": size}),
            self._pipeline,
            seed=self._next_seed(),
            loss=loss,
            after_step=after_step,
            optimizer=self._optimizer,
            freeze_batch_norm=self._freeze_batch_norm,
            max_norm=self._max_norm,
        )
