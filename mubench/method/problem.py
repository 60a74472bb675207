"""What a method sees of a case: the original, the sets that it declared, and helpers.

A method never sees a gold or the scored test set. Touching a set that was not declared raises, so
"needs no retain data" on the leaderboard is a verified claim.

Shape suffixes: N samples, C channels, H and W pixels, K classes, D features.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mubench._util.hashing import derive_seed
from mubench.record.schema import PART_NAME
from mubench.task.data import Samples, shard_numbers
from mubench.task.spec import DataSpec, TrainSpec
from mubench.training import derivatives, ensemble, loop, networks, precision
from mubench.training.loop import Batch, EpochLog, Loss, Pipeline
from mubench.training.networks import Architecture

from .access import GOLD_LABELS, GOLD_PROBABILITIES, REPORTS, SHARDS, UPDATE_LOG
from .meter import Meter
from .trainer import Trainer


class AccessError(RuntimeError):
    """A method touched what it did not declare."""


class Method(Protocol):
    """A frozen, keyword-only dataclass of parameters with one function. Nobody inherits from it."""

    requires: ClassVar[frozenset[str]]

    def unlearn(self, problem: "Problem") -> nn.Module:
        """Returns the unlearned model: the original's architecture, any of its own weights."""


@dataclass(frozen=True, eq=False)
class MethodInputs:
    """All that a problem is made of, and so all that a method can know of a case."""

    original: Mapping[str, Tensor]
    """The original's weights: parameters and buffers by name."""
    access: Mapping[str, Any]
    """What the method declared, by name, and nothing else: sets, log, labels."""
    requires: frozenset[str]
    """The names that the method declared."""
    num_forget: int
    """|D_f|, known also to a method that does not declare D_f, because reports have that length."""
    architecture: Architecture
    """The network of the original and of every model of the task."""
    data: DataSpec
    """How images are normalised."""
    recipe: TrainSpec
    """How the original was trained."""
    seed: int
    """Seed of the run."""
    device: torch.device
    """Where all tensors and models are."""


class Problem:
    """One case, as a method sees it. Made by the harness.

    Attributes:
        num_classes: K, how many classes there are.
        recipe: how the original was trained (`lr`, `epochs`, `batch_size`, `precision`, ...).
        device: where all tensors and models are.
        seed: of this run; the helpers' random choices follow from it.
        reports: what the method has handed in by `report`, by name.
        parts: passes of a sample in each `part` of the method, where a backward pass counts two.
        refused: what the method has touched without having declared it.
    """

    def __init__(self, inputs: MethodInputs, meter: Meter | None = None):
        """Makes the problem, with a private copy of the original.

        Args:
            inputs: what the problem is made of.
            meter: counts the samples that pass through the problem's networks.
        """
        self.num_classes = inputs.architecture.num_classes
        self.recipe = inputs.recipe
        self.device = inputs.device
        self.seed = inputs.seed
        self.parts: dict[str, int] = {}
        self.reports: dict[str, np.ndarray[Any, Any]] = {}
        self.refused: list[str] = []
        self._architecture = inputs.architecture
        self._access = {name: inputs.access[name] for name in inputs.requires}
        self._num_forget = inputs.num_forget
        self._pipeline = Pipeline(inputs.data, inputs.recipe, inputs.device)
        self._meter = meter or Meter()
        self._watch = self._meter.watch
        self._draws = 0
        original = inputs.architecture.fresh(0, inputs.device)
        original.load_state_dict(dict(inputs.original))
        self._original = original.to(memory_format=torch.channels_last).eval()
        self._watch(self._original)

    def _get(self, name: str) -> Any:
        if name not in self._access:
            self.refused.append(name)
            raise AccessError(
                f"the method touched problem.{name}, which its `requires` does not name"
            )
        return self._access[name]

    @property
    def original(self) -> nn.Module:
        """The model trained on D, in eval mode: a private copy, yours to change and to return."""
        return self._original

    @property
    def forget(self) -> Samples:
        """D_f, the samples to forget."""
        samples: Samples = self._get("forget")
        return samples

    @property
    def retain(self) -> Samples:
        """D_r, all samples of D that are not in D_f."""
        samples: Samples = self._get("retain")
        return samples

    @property
    def holdout(self) -> Samples:
        """Held-out samples that are never scored."""
        samples: Samples = self._get("holdout")
        return samples

    @property
    def training_log(self) -> tuple[EpochLog, ...]:
        """The log of the original's training, one line per epoch.

        Of an ensemble: the lines of each member, member after member.
        """
        log: tuple[EpochLog, ...] = self._get("training_log")
        return log

    @property
    def update_log(self) -> Mapping[str, Tensor]:
        """What the original's training steps that met D_f have changed, summed, float32.

        By name of the parameter, in its shape: the sum of (weights after - weights before) over
        the steps whose batch held at least one sample of D_f. An original that kept such a log was
        told of D_f before its training; keeping the log is no work of the method's.
        """
        log: Mapping[str, Tensor] = self._get(UPDATE_LOG)
        return log

    @property
    def shards(self) -> int:
        """Number of shards of D, S. The original has a member for each, trained on it alone."""
        count: int = self._get(SHARDS)
        return count

    def shard_of(self, samples: Samples) -> Tensor:
        """The shard of each sample, int64 (N,), from 0 to S - 1. It follows from the pixels."""
        return torch.from_numpy(shard_numbers(samples.images, self.shards)).to(self.device)

    def members(self, model: nn.Module) -> list[nn.Module]:
        """The networks of an ensemble, shard by shard: the ensemble's own, yours to train."""
        return ensemble.members(model)

    @property
    def gold_labels(self) -> Tensor:
        """Bool (N,): true where most golds are right on a sample of D_f. For controls only."""
        labels: Tensor = self._get(GOLD_LABELS)
        return labels

    @property
    def gold_probabilities(self) -> Tensor:
        """The golds' mean softmax output on D_f, float32 (N, K). For controls only."""
        probabilities: Tensor = self._get(GOLD_PROBABILITIES)
        return probabilities

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Names a part of the method, whose cost the record then tells beside that of the whole.

        Args:
            name: words of small letters, such as `last step`. A name may come again.

        Raises:
            ValueError: the name is another.
        """
        if not re.fullmatch(PART_NAME, name):
            raise ValueError(f"a part is named by a few words of small letters, not {name!r}")
        seen = self._meter.seen
        before = seen.forward + 2 * seen.backward
        yield
        passed = seen.forward + 2 * seen.backward - before
        self.parts[name] = self.parts.get(name, 0) + passed

    def seed_for(self, purpose: str) -> int:
        """A seed for one purpose, the same in every run with this problem's seed."""
        return derive_seed("method", self.seed, purpose)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator on the CPU for one purpose, seeded by `seed_for`."""
        return torch.Generator().manual_seed(self.seed_for(purpose))

    def _next_seed(self) -> int:
        # Each call of a helper draws anew, in the order in which the method calls them.
        self._draws += 1
        return self.seed_for(f"call {self._draws}")

    def schedule_share(self, epochs: int | None, share: float = 0.1) -> int:
        """A length in epochs: as given, or a share of the original's schedule, at least one.

        Args:
            epochs: the length, if it is given.
            share: fraction of the original's epochs otherwise.
        """
        return epochs if epochs is not None else max(1, round(share * self.recipe.epochs))

    def fresh_network(self) -> nn.Module:
        """A newly initialised network of the original's architecture, in train mode."""
        network = self._architecture.fresh(self._next_seed(), self.device)
        self._watch(network)
        return network

    def copy(self, model: nn.Module) -> nn.Module:
        """A copy of a model that shares nothing with it."""
        return deepcopy(model)

    def subset(self, samples: Samples, count: int) -> Samples:
        """Some samples drawn at random, without repeats.

        Args:
            samples: to draw from.
            count: how many.
        """
        generator = torch.Generator().manual_seed(self._next_seed())
        chosen = torch.randperm(len(samples), generator=generator)[:count]
        return samples[chosen.to(self.device)]

    def share(self, samples: Samples, share: float) -> Samples:
        """A random share of samples, at least one sample.

        Args:
            samples: to draw from.
            share: fraction of the samples.
        """
        return self.subset(samples, max(1, round(share * len(samples))))

    def wrong_labels(self, labels_N: Tensor) -> Tensor:
        """A wrong label for each label, (N,), uniform over the K - 1 others."""
        generator = torch.Generator().manual_seed(self._next_seed())
        offset_N = torch.randint(1, self.num_classes, labels_N.shape, generator=generator)
        return (labels_N + offset_N.to(labels_N.device)) % self.num_classes

    def batches(self, samples: Samples, *, batch_size: int | None = None) -> Iterator[Batch]:
        """One shuffled pass of augmented, normalised batches.

        Args:
            samples: to go through.
            batch_size: samples per batch. None: the recipe's.
        """
        return loop.batches(
            samples,
            self._pipeline,
            batch_size=batch_size or self.recipe.batch_size,
            seed=self._next_seed(),
        )

    def normalise(self, pixels_NCHW: Tensor) -> Tensor:
        """Images as networks take them, from uint8 or float pixels in 0..255; differentiable."""
        return self._pipeline.normalise(pixels_NCHW)

    def augment(self, images_NCHW: Tensor) -> Tensor:
        """Uint8 images under random flips and crops.

        A crop is as large as in the recipe; an eighth of the image if the recipe has no crop.
        """
        pipeline = deepcopy(self._pipeline)
        pipeline.flip, pipeline.crop = True, pipeline.crop or images_NCHW.shape[-1] // 8
        return pipeline.augment(images_NCHW, torch.Generator().manual_seed(self._next_seed()))

    def autocast(self) -> AbstractContextManager[object]:
        """The context for forward passes in the recipe's precision."""
        return precision.autocast(self.recipe.precision, self.device)

    def train_like_original(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        epochs: int | None = None,
        peak: float = 1.0,
    ) -> None:
        """Trains a model in place with the original's recipe; left in eval mode.

        Each member of an ensemble is trained on the samples of its shard.

        Args:
            model: to train; a member of an ensemble too.
            samples: what to train on.
            epochs: passes over the samples; the schedule is squeezed into them. None: the recipe's.
            peak: learning rate at every step, as a multiple of the recipe's.
        """
        epochs = epochs or self.recipe.epochs
        milestones = tuple(m * epochs / self.recipe.epochs for m in self.recipe.milestones)
        squeezed = {"epochs": epochs, "lr": peak * self.recipe.lr, "milestones": milestones}
        recipe = self.recipe.model_copy(update=squeezed)
        ensemble.fit(model, samples, recipe, self._pipeline, seed=self._next_seed())

    def fine_tune(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        epochs: int,
        lr: float,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int | None = None,
        loss: Loss = loop.cross_entropy,
        stop: Callable[[], bool] | None = None,
        after_step: Callable[[], bool | None] | None = None,
        freeze_batch_norm: bool = False,
        schedule: Literal["constant", "one-cycle", "cosine"] = "constant",
        warmup: float = 0.2,
        max_norm: float | None = None,
    ) -> None:
        """Trains a model in place, with the recipe's precision and augmentation.

        Args:
            model: to train; left in eval mode. Parameters that require no gradient stay as they
                are, and so do the running statistics of such a batch norm.
            samples: what to train on.
            epochs: passes over the samples.
            lr: step size; under a schedule the largest.
            optimizer: kind of optimiser.
            momentum: of SGD; AdamW has none.
            weight_decay: of either optimiser.
            batch_size: samples per batch. None: the recipe's.
            loss: a function of (logits_NK, batch); `batch.index_N` are positions in `samples`.
            stop: a function that is asked after each epoch; True ends the training.
            after_step: a function that is called after each step, and may change weights; True ends
                the training there.
            freeze_batch_norm: True has batch norm use its running statistics and leave them as they
                are; on few samples of one class they would become that class's.
            schedule: how the rate goes over the steps of this call: it stays; it rises to `lr` and
                falls to nothing; or it falls from `lr` to nothing along a cosine.
            warmup: of `one-cycle`: fraction of the steps during which the rate rises.
            max_norm: most that the norm of a gradient may be; a longer one is scaled down.

        Raises:
            mubench.Diverged: the loss is not finite any more.
        """
        loop.fit(
            model,
            samples,
            self._fine_tuning(
                epochs=epochs,
                lr=lr,
                schedule=schedule,
                warmup=warmup,
                optimizer=optimizer,
                momentum=momentum,
                weight_decay=weight_decay,
                batch_size=batch_size or self.recipe.batch_size,
            ),
            self._pipeline,
            seed=self._next_seed(),
            loss=loss,
            on_epoch=(lambda _: stop()) if stop else None,
            after_step=after_step,
            freeze_batch_norm=freeze_batch_norm,
            max_norm=max_norm,
        )

    def trainer(
        self,
        model: nn.Module,
        *,
        lr: float,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int | None = None,
        freeze_batch_norm: bool = False,
        max_norm: float | None = None,
    ) -> Trainer:
        """A trainer for passes that take turns, such as over D_f and over D_r.

        Unlike with calls of `fine_tune`, the optimiser's momentum lasts from pass to pass.

        Args:
            model: to train. Parameters that require no gradient now stay as they are, and so do the
                running statistics of such a batch norm.
            lr: step size, which can be set between passes.
            optimizer: kind of optimiser.
            momentum: of SGD; AdamW has none.
            weight_decay: of either optimiser.
            batch_size: samples per batch. None: the recipe's.
            freeze_batch_norm: as in `fine_tune`.
            max_norm: as in `fine_tune`.
        """
        recipe = self._fine_tuning(
            epochs=1,
            lr=lr,
            optimizer=optimizer,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size or self.recipe.batch_size,
        )
        return Trainer(
            model,
            recipe,
            self._pipeline,
            self._next_seed,
            freeze_batch_norm=freeze_batch_norm,
            max_norm=max_norm,
        )

    def _fine_tuning(self, **changes: Any) -> TrainSpec:
        """The recipe of a training that is not the original's, with its precision."""
        constant = {"schedule": "constant", "nesterov": False, "milestones": ()}
        return self.recipe.model_copy(update=constant | changes)

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """The blocks of a network from input to output, the head last.

        A ResNet has a stem, four stages and a head; `allcnn` a block per convolution and a head;
        `vit` an embedding, its blocks and a head.

        Args:
            model: any network of the problem.

        Returns:
            Blocks whose parameters are the network's own.
        """
        return networks.stages(model)

    def logits(self, model: nn.Module, samples: Samples) -> Tensor:
        """Logits of a model on samples, float32 (N, K), in eval mode, without gradients."""
        return loop.predict(model, samples, self._pipeline)

    def correct(self, model: nn.Module, samples: Samples) -> Tensor:
        """Bool (N,): true where a model's prediction is the label."""
        return self.logits(model, samples).argmax(1).eq(samples.labels)

    def features(self, model: nn.Module, samples: Samples) -> Tensor:
        """Penultimate features of a model on samples, float32 (N, D), as `logits` computes them."""
        return loop.predict(model, samples, self._pipeline, networks.features)

    def gradients(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        loss: Loss = loop.cross_entropy,
        square: bool = False,
        per_sample: bool = False,
        batch_size: int | None = None,
    ) -> dict[str, Tensor]:
        """Mean gradient of a loss, or mean of its square, by name of the model's trained weights.

        In float32 and eval mode, without augmentation. Weights that require no gradient are left
        out.

        Args:
            model: whose weights the loss is derived by.
            samples: to average over.
            loss: a function of (logits_NK, batch), as in `fine_tune`. With `per_sample`: see
                `sample_gradients`; the squares of several values are summed.
            square: whether gradients are squared before they are averaged.
            per_sample: whether each sample's gradient is squared. Otherwise: each batch's.
            batch_size: samples per batch. None: the recipe's; per sample: as memory allows.
        """
        if square and per_sample:
            return derivatives.mean_squares(
                model, samples, self._pipeline, loss=loss, batch_size=batch_size
            )
        batches = loop.batches(
            samples,
            self._pipeline,
            batch_size=batch_size or self.recipe.batch_size,
            seed=self._next_seed(),
            augment=False,
        )
        return derivatives.mean_gradients(model, batches, loss=loss, square=square)

    def sample_gradients(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        loss: Loss = loop.cross_entropy,
        batch_size: int | None = None,
    ) -> Iterator[dict[str, Tensor]]:
        """Gradients of each sample, in the order of the samples, some samples at a time.

        In float32 and eval mode, without augmentation. By name of the model's trained weights:
        (N, *shape), or (N, M, *shape) for a loss of M values.

        Args:
            model: whose weights the loss is derived by.
            samples: to go through.
            loss: a function of (logits (1, K), batch of one sample). It gives one value, or (M,)
                values with a gradient each. It runs under `torch.func.vmap`, so without `if`.
            batch_size: samples at a time. None: as many as memory allows.
        """
        return derivatives.sample_gradients(
            model, samples, self._pipeline, loss=loss, batch_size=batch_size
        )

    def attack(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        norm: Literal["linf", "l2"],
        eps: float,
        steps: int,
        step_size: float | None = None,
        targets_N: Tensor | None = None,
    ) -> Samples:
        """Adversarial images by projected gradient descent, from the clean images on.

        In float32 and eval mode. `fine_tune` and all other helpers take such samples too.

        Args:
            model: to mislead.
            samples: to attack.
            norm: of `eps`: the largest change of one pixel, or the Euclidean length of all changes.
            eps: most that an image may change; pixels are 0..255.
            steps: of the descent.
            step_size: length of a step in that norm. None: 2.5 eps / steps.
            targets_N: labels to attack towards. None: away from the samples' own labels.

        Returns:
            Float pixels in 0..255, under the samples' own labels.
        """
        return derivatives.attack(
            model,
            samples,
            self._pipeline,
            norm=norm,
            eps=eps,
            steps=steps,
            step_size=2.5 * eps / steps if step_size is None else step_size,
            targets_N=targets_N,
        )

    def report(self, name: str, values_N: Tensor) -> None:
        """Hands in one prediction per sample of D_f, which is scored against the golds later.

        Args:
            name: `easy` (bool: a gold will be right) or `easy_score` (float: higher is easier).
            values_N: one value per sample, (N,), in the order of `forget`.

        Raises:
            ValueError: the name is another, or there is not one finite value per sample.
        """
        if name not in REPORTS:
            raise ValueError(f"a method can report {' or '.join(REPORTS)}, not {name!r}")
        expected = (self._num_forget,)
        if tuple(values_N.shape) != expected:
            raise ValueError(f"report {name!r} has shape {tuple(values_N.shape)}, not {expected}")
        kind = torch.bool if name == "easy" else torch.float32
        values_N = values_N.detach().to("cpu", kind)
        if not values_N.isfinite().all():
            raise ValueError(f"report {name!r} has values that are not finite")
        self.reports[name] = values_N.numpy()
