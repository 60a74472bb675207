"""What Ray costs: 40 cells of digits on two nodes of one CPU each, and on two local workers.

Run `pytest tests/benchmarks/test_ray.py -m "" --benchmark-enable -s`; nothing asserts the time.
Both engines are warm, and take turns of ten cells, so that what else the machine does meets both.
The overhead should be at most 15%.
"""

import time
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
import torch

from mubench._util.cache import Store
from mubench._util.workers import LocalExecutor
from mubench.gold.build import build
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.run.cell import Cell
from mubench.run.isolation.host import Isolation
from mubench.run.sweep import plan
from mubench.run.sweep.jobs import Place
from mubench.task.installed import load_task
from tests.helpers.clusters import small_cluster

NUM_CELLS, TURN = 40, 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(3600)
def test_overhead_of_ray(benchmark, tmp_path):
    if benchmark.disabled:
        pytest.skip("takes minutes; nothing is asserted")
    pytest.importorskip("ray")
    from mubench.run.sweep.ray_engine import connect

    loaded = LoadedTask(load_task("digits-subset"), torch.device("cpu"))
    library = GoldLibrary(loaded, Store(tmp_path / "cache"))
    case = loaded.cases[0]
    build(library, library.missing([case]))
    with ExitStack() as stack:
        (method,) = stack.enter_context(Isolation([tmp_path / "results"])).describe("finetune")
        cluster = stack.enter_context(small_cluster(tmp_path, num_nodes=2))
        on_ray, far = connect(library.store.root, tmp_path / "ray", address=cluster.address)
        stack.enter_context(closing(on_ray))
        local = stack.enter_context(closing(LocalExecutor(2, threads=1)))
        near = Place(library.store.root, tmp_path / "local", "cpu", 2, threads=1)
        engines = {"local": (local, near), "ray": (on_ray, replace(far, results=tmp_path / "ray"))}

        def take_turn(engine, seeds):
            executor, place = engines[engine]
            cells = [(loaded, Cell(case, method, None, seed)) for seed in seeds]
            jobs = plan.in_order(plan.make_plans(cells, place, executor))
            began = time.perf_counter()
            done = [event[1].status for event in plan.run(jobs, executor) if event]
            assert done == ["ok"] * len(seeds)
            return time.perf_counter() - began

        for engine in engines:
            take_turn(engine, range(1000, 1004))  # starts the workers and their isolation
        seconds = dict.fromkeys(engines, 0.0)
        for start in range(0, NUM_CELLS, TURN):
            for engine in engines:
                seconds[engine] += take_turn(engine, range(start, start + TURN))
    overhead = seconds["ray"] / seconds["local"] - 1
    print(  # noqa: T201
        f"\n{NUM_CELLS} cells: local {seconds['local']:.1f} s, Ray {seconds['ray']:.1f} s, "
        f"overhead {overhead:+.1%}"
    )
    benchmark.extra_info.update(seconds, overhead=overhead)
    benchmark.pedantic(lambda: None)
