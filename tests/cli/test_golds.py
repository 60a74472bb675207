"""`mubench gold build` in two processes at once."""

import json
import os
import subprocess

import pytest

from tests.helpers.golds import build_command, models_in


def run_build(folder, cache, **options):
    environment = os.environ | {"MUBENCH_CACHE": str(cache)}
    return subprocess.Popen(
        build_command(folder), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_train_a_gold_once(tmp_path):
    cache = tmp_path / "cache"
    builds = [run_build(tmp_path, cache) for _ in range(2)]
    errors = [build.communicate()[1] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], errors
    assert len(models_in(cache)) == 3
    provenance = [
        json.loads((path.parent / "manifest.json").read_text())["provenance"]
        for path in cache.glob("models/*/weights.safetensors")
    ]
    assert all(len(p["log"]) == 60 for p in provenance)
    # trained once: the files are as old as the first build made them, and nobody wrote over them
    assert not list(cache.glob("models/.*.tmp"))
    assert not list(cache.glob("checkpoints/*"))
