"""The harness's own hot paths: `tox -e bench`, or pytest on this folder with --benchmark-only.

Training through the harness beside the same steps in a bare loop: the two medians of group
`training` should be within 5% of each other. Timings are noisy here, so nothing asserts them.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mubench.record import metrics
from mubench.record.readout import Readout
from mubench.task.data import Samples
from mubench.task.installed import load_task
from mubench.training import loop, networks
from mubench.training.loop import Pipeline

STEPS = 8


@pytest.fixture(scope="module")
def work():
    """The network and recipe of cifar10-subset on random images, one epoch of a few steps."""
    task = load_task("cifar10-subset")
    recipe = task.train.model_copy(update={"epochs": 1, "schedule": "constant"})
    generator = torch.Generator().manual_seed(0)
    n = STEPS * recipe.batch_size
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    samples = Samples(images, torch.randint(10, (n,), generator=generator))

    def fresh():
        return networks.build(task.model, num_classes=10, channels=3, image_size=32, seed=0)

    torch.set_num_threads(1)
    return recipe, samples, Pipeline(task.data, recipe, torch.device("cpu")), fresh


@pytest.mark.benchmark(group="training")
def test_bare_loop(benchmark, work):
    recipe, samples, pipeline, fresh = work
    model = fresh().to(memory_format=torch.channels_last).train()
    images = pipeline.normalise(samples.images)
    optimizer = loop.make_optimizer(model, recipe)

    def bare():
        order = torch.randperm(len(samples))
        for start in range(0, len(samples), recipe.batch_size):
            index = order[start : start + recipe.batch_size]
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images[index].contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), samples.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    benchmark.pedantic(bare, rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="training")
def test_harness(benchmark, work):
    recipe, samples, pipeline, fresh = work
    model = fresh()
    benchmark.pedantic(
        lambda: loop.fit(model, samples, recipe, pipeline, seed=0), rounds=7, warmup_rounds=1
    )


@pytest.mark.benchmark(group="data")
def test_augment_and_normalise_a_batch(benchmark, work):
    recipe, samples, _, _ = work
    task = load_task("cifar10-subset")
    recipe = recipe.model_copy(update={"flip": True, "crop": 4})
    pipeline = Pipeline(task.data, recipe, torch.device("cpu"))
    batch = samples.images[:128]
    generator = torch.Generator().manual_seed(0)
    benchmark(lambda: pipeline.normalise(pipeline.augment(batch, generator)))


@pytest.mark.benchmark(group="scoring")
@pytest.mark.parametrize("num_forget", [100, 4000])
def test_every_metric_against_three_golds(benchmark, num_forget):
    generator = np.random.default_rng(0)

    def readout():
        test_logits = generator.normal(size=(5000, 10)).astype(np.float32)
        return Readout(
            forget_logits_NK=generator.normal(size=(num_forget, 10)).astype(np.float32),
            forget_labels_N=np.zeros(num_forget, np.int64),
            test_logits_MK=test_logits,
            test_predictions_M=test_logits.argmax(1),
            test_labels_M=np.arange(5000) % 10,
            retain_correct=9,
            retain_total=10,
        )

    golds = [readout() for _ in range(3)]
    metrics.score(golds[0], golds)  # the golds' own attacks are kept
    benchmark.pedantic(
        lambda unlearned: metrics.score(unlearned, golds),
        setup=lambda: ((readout(),), {}),
        rounds=5,
    )
