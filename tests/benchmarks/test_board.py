"""Reading 10,000 records, every number recomputed, and rendering the page from them: at most 5 s.

Run `pytest tests/benchmarks -m "" --benchmark-enable --benchmark-only`; nothing asserts the time.
"""

import os

import pytest

from mubench.board.pages.leaderboard import render
from mubench.board.ranking import build
from mubench.record.check import read_results
from tests.helpers.lab import Lab, make_task


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """100 methods on 10 cases with 10 seeds."""
    results = tmp_path_factory.mktemp("results")
    task = make_task(classes=tuple("abcdefghij"), sizes=(100,))
    lab = Lab(results, task, num_test=5000)
    for path in lab.add_entry("method-0"):
        text, readout = path.read_text(), path.with_suffix(".npz")
        for method in (f"method-{i}" for i in range(100)):
            folder = path.parent.with_name(method)
            folder.mkdir(exist_ok=True)
            for seed in range(10):
                copy = folder / path.name.replace("seed0", f"seed{seed}")
                if copy != path:
                    named = text.replace('"method-0"', f'"{method}"')
                    copy.write_text(named.replace('"seed": 0', f'"seed": {seed}', 1))
                    os.link(readout, copy.with_suffix(".npz"))
    return results, task


@pytest.mark.benchmark(group="board")
def test_ten_thousand_records(benchmark, many):
    results, task = many

    def page():
        read = read_results(results, [task])
        return render(build(read.checked, [task]), read.rejected, "results"), read

    _, read = benchmark.pedantic(page, rounds=1)
    assert len(read.checked) == 10_000
