"""A GPU: the same numbers as on the CPU, its clock and its memory. `tox -e gpu` runs these.

Nothing here runs without a GPU. What can be told without one is in the tests of the rooms.
"""

import json
import os
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from mubench._util.cache import Store
from mubench.gold import audit
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.gold.train import train
from mubench.method.problem import Meter, Problem
from mubench.run.execute import execute
from mubench.task.installed import load_task
from mubench.task.spec import parse_task
from mubench.training import loop
from tests.helpers.gpus import GPU, needs_gpu
from tests.helpers.problems import make_inputs
from tests.helpers.stores import copy_of
from tests.helpers.tiny import TINY

pytestmark = needs_gpu

CIFAR = Path(os.environ.get("MUBENCH_DATA", "/nowhere")) / "cifar-10-batches-py"
TRAINED = ("allcnn", "resnet18", "vit")


@pytest.fixture(scope="module")
def on_gpu():
    return LoadedTask(parse_task(TINY, "tiny.toml"), GPU)


@pytest.fixture(scope="module")
def gpu_library(on_gpu, tmp_path_factory):
    """The models of the tiny task's first case, trained on the GPU."""
    library = GoldLibrary(on_gpu, Store(tmp_path_factory.mktemp("gpu")))
    for ref in library.missing(on_gpu.cases[:1]):
        train(library, ref)
    return library


def measured(folder, cache, device, *options):
    """The record of `mubench run` with a built-in method on a device."""
    (folder / "tiny.toml").write_text(TINY)
    out = folder / f"results on {device}{''.join(options)}"
    done = subprocess.run(
        [sys.executable, "-m", "mubench", "run", "--method", "finetune", "--task", "tiny.toml",
         "--case", "b-6", "--format", "json", "--device", device, "--out", str(out), *options],
        cwd=folder, env=os.environ | {"MUBENCH_CACHE": str(cache)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_logits_of_the_same_weights_are_those_of_the_cpu(library, on_gpu):
    here = library.loaded
    forget, _ = here.split(here.cases[0])
    cpu_NK = loop.predict(library.model(library.loaded.originals[0]), forget, here.pipeline)
    model = on_gpu.fresh(0)
    model.load_state_dict(library.model(library.loaded.originals[0]).state_dict())
    gpu_NK = loop.predict(model, on_gpu.split(on_gpu.cases[0])[0], on_gpu.pipeline)
    assert gpu_NK.device == GPU
    assert torch.allclose(cpu_NK, gpu_NK.cpu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_a_network_starts_and_reads_the_same_on_both(name):
    width = {"allcnn": 8, "resnet18": 8, "vit": 24}[name]
    text = TINY.replace('name = "allcnn"\nwidth = 8', f'name = "{name}"\nwidth = {width}')
    outputs = []
    for device in ("cpu", GPU):
        loaded = LoadedTask(parse_task(text, "tiny.toml"), torch.device(device))
        outputs.append(loop.predict(loaded.fresh(3), loaded.test, loaded.pipeline).cpu())
    assert torch.allclose(*outputs, rtol=1e-3, atol=1e-3)


def test_batches_are_the_same_samples_as_on_the_cpu(library, on_gpu):
    here = library.loaded
    pairs = zip(
        loop.batches(here.train, here.pipeline, batch_size=32, seed=5),
        loop.batches(on_gpu.train, on_gpu.pipeline, batch_size=32, seed=5),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.index_N, other.index_N.cpu())
        assert torch.allclose(one.images_NCHW, other.images_NCHW.cpu(), atol=1e-6)


def test_a_gold_of_the_gpu_holds_and_scores_as_one_of_the_cpu(library, gpu_library):
    case = library.loaded.cases[0]
    for ref in [gpu_library.loaded.originals[0], *gpu_library.loaded.golds(case)]:
        assert audit.find_defects(gpu_library, ref) == []
    accuracies = [
        np.mean([gold.readout.test_right_M.mean() for gold in own.readouts(case)])
        for own in (library, gpu_library)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.1


def test_a_training_goes_on_from_a_checkpoint_on_the_gpu(on_gpu):
    states = []
    recipe = on_gpu.task.train

    def fit(resume=None, on_epoch=None):
        model = on_gpu.fresh(1)
        loop.fit(model, on_gpu.train, recipe, on_gpu.pipeline, seed=1, resume=resume,
                 on_epoch=on_epoch)  # fmt: skip
        return loop.predict(model, on_gpu.test, on_gpu.pipeline).cpu()

    whole = fit(on_epoch=lambda make: states.append(deepcopy(make())))
    assert all(tensor.device.type == "cpu" for tensor in states[0].tensors.values())
    assert torch.allclose(whole, fit(resume=states[0]), rtol=0, atol=0.05), (
        "a GPU adds in any order"
    )


def test_metrics_are_those_of_the_cpu_within_tolerance(library, tmp_path):
    cache = copy_of(library, tmp_path / "cache").store.root
    cpu, gpu = (measured(tmp_path, cache, device) for device in ("cpu", str(GPU)))
    assert gpu["device"] == torch.cuda.get_device_name(GPU) != cpu["device"]
    for name in ("test_accuracy", "retain_accuracy"):
        assert abs(cpu["metrics"][name]["value"] - gpu["metrics"][name]["value"]) < 0.05, name
    for name in ("forward_samples", "backward_samples", "epochs_equivalent"):
        assert cpu["cost"][name] == gpu["cost"][name]


def test_isolated_is_as_not_isolated(library, tmp_path):
    cache = copy_of(library, tmp_path / "cache").store.root
    here, apart = (measured(tmp_path, cache, str(GPU), *o) for o in ((), ("--isolate",)))
    assert (here["isolated"], apart["isolated"]) == (False, True)
    for name in ("forward_samples", "backward_samples"):
        assert here["cost"][name] == apart["cost"][name]
    assert abs(here["metrics"]["test_accuracy"]["value"]
               - apart["metrics"]["test_accuracy"]["value"]) < 0.05  # fmt: skip
    assert 0 < apart["cost"]["peak_memory_bytes"] < 4e9


def run(loaded, unlearn):
    class Mine:
        def unlearn(self, problem):
            unlearn(problem)
            return problem.original

    meter = Meter()
    return execute(Mine(), Problem(make_inputs(loaded, "forget"), meter), meter)


def test_the_clock_waits_for_work_that_was_only_queued(on_gpu):
    matrix = torch.rand(4096, 4096, device=GPU)

    def queue_work(_):
        out = matrix
        for _ in range(200):
            out = out @ matrix

    queue_work(None)
    torch.cuda.synchronize(GPU)
    started = time.perf_counter()
    queue_work(None)
    torch.cuda.synchronize(GPU)
    seconds = time.perf_counter() - started
    assert run(on_gpu, queue_work).usage.seconds > 0.7 * seconds


def test_peak_memory_is_of_the_run_and_not_of_the_one_before(on_gpu):
    def allocate(num_bytes):
        return lambda _: torch.zeros(num_bytes, dtype=torch.uint8, device=GPU)

    small, large, again = (
        run(on_gpu, allocate(num_bytes)).usage.peak_memory_bytes
        for num_bytes in (1_000_000, 1_000_000_000, 1_000_000)
    )
    assert large - small > 0.9e9
    assert abs(again - small) < 1e7


def test_running_out_of_memory_is_said_and_the_next_run_works(on_gpu):
    def too_much(_):
        torch.zeros(10**13, dtype=torch.uint8, device=GPU)

    outcome = run(on_gpu, too_much)
    assert outcome.status == "error"
    assert outcome.error.startswith("out of memory: ")
    assert run(on_gpu, lambda _: None).status == "ok"


def test_one_gpu_has_one_cell_at_a_time(library, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    grid = 'tasks = ["tiny.toml"]\nmethods = ["original", "finetune"]\ncases = ["b-6"]\n'
    (tmp_path / "grid.toml").write_text(grid)
    cache = copy_of(library, tmp_path / "cache").store.root
    done = subprocess.run(
        [sys.executable, "-m", "mubench", "sweep", "grid.toml", "--device", str(GPU)],
        cwd=tmp_path, env=os.environ | {"MUBENCH_CACHE": str(cache)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "with 1 at once" in done.stderr


@pytest.mark.skipif(not CIFAR.is_dir(), reason="set MUBENCH_DATA to train on real CIFAR-10")
@pytest.mark.timeout(0)
def test_golds_of_a_case_of_cifar10_paper(tmp_path, capsys):
    """Trains the original and the golds of one case, audits them, and prints the time it took."""
    loaded = LoadedTask(load_task("cifar10-paper"), GPU)
    library, case = GoldLibrary(loaded, Store(tmp_path)), loaded.cases[0]
    for ref in library.needed([case]):
        started = time.perf_counter()
        train(library, ref)
        with capsys.disabled():
            sys.stdout.write(f"\n{ref.label}: {time.perf_counter() - started:.0f} s on ")
            sys.stdout.write(f"{torch.cuda.get_device_name(GPU)}\n")
        assert audit.find_defects(library, ref) == []
    for gold in library.readouts(case):
        assert gold.readout.test_right_M.mean() > 0.85
