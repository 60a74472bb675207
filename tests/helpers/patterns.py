"""Four noisy patterns that are learned in a second, for methods to unlearn."""

from types import SimpleNamespace

import torch
from mubench_methods import _last_step, _restart, _tmu_twin, tmu  # noqa: TID251 - as they only
from torch import nn

from mubench.method.problem import Problem
from mubench.task import data
from mubench.task.data import Samples
from mubench.task.spec import DataSpec, ModelSpec, TrainSpec
from mubench.training.loop import Pipeline
from mubench.training.networks import Architecture

CLASSES, SIZE, PER_CLASS = 4, 8, 80
CPU = torch.device("cpu")
DATA = DataSpec(name="noisy", kind="folder", image_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
RECIPE = TrainSpec(
    epochs=10, batch_size=32, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="one-cycle"
)
PIPELINE = Pipeline(DATA, RECIPE, CPU)

QUICK_TMU = tmu.TMU()
LEARNED_TMU = tmu.TMU(
    restart=_restart.Restart(erase=False, epochs=0),
    features=("nf", "af", "cf"),
    classifier="mlp",
    quota="twin",
    twin=_tmu_twin.Twin(replay_share=0.2, pool=2, epochs=2),
    last_step=_last_step.LastStep(**_last_step.PAPER_STEP, retain_share=0.2),
)


ARCHITECTURE = Architecture(
    ModelSpec(name="allcnn", width=8), num_classes=CLASSES, channels=3, image_size=SIZE
)


def build(seed: int) -> nn.Module:
    return ARCHITECTURE.fresh(seed)


def draw(per_class: int, seed: int) -> Samples:
    """A pattern of each class under so much noise that about a fifth cannot be told."""
    pattern = torch.rand(CLASSES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(per_class)
    noise = torch.randn(len(labels), 3, SIZE, SIZE, generator=generator)
    images = 128 + 40 * (pattern[labels] - 0.5) + 40 * noise
    return Samples(images.clamp(0, 255).to(torch.uint8), labels)


TRAIN, HOLDOUT, TEST = draw(PER_CLASS, 1), draw(40, 2), draw(100, 3)


class Patterns:
    """Patterns in place of a task with its data. A case is the positions of D_f in TRAIN."""

    task = SimpleNamespace(data=DATA, train=RECIPE)
    device = CPU
    architecture = ARCHITECTURE
    holdout = HOLDOUT
    cases = (torch.arange(len(TRAIN))[TRAIN.labels == 1][:20],)

    @staticmethod
    def split(case: torch.Tensor) -> tuple[Samples, Samples]:
        """D_f in the order of its positions, and D_r."""
        return TRAIN[case], data.split(TRAIN, case)[1]


ALL = {"forget", "retain", "holdout", "gold_labels", "gold_probabilities"}


def accuracy(problem: Problem, model: nn.Module, samples: Samples) -> float:
    return problem.correct(model, samples).float().mean().item()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in [*model.parameters(), *model.buffers()]])
