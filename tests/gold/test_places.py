"""Caches on odd places, as the system itself makes them: read-only, full, remote, no home.

The commands run in a mount namespace of their own, which most Linux gives to users.
"""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from mubench._util.cache import Store
from mubench.gold.bundle import export_bundle, import_bundle
from mubench.gold.library import READOUTS, GoldLibrary
from mubench.gold.train import train
from mubench.training import loop
from tests.helpers.methods import PLUGIN
from tests.helpers.object_stores import s3_environment
from tests.helpers.stores import copy_of, keys
from tests.helpers.tiny import TINY

RUN = (sys.executable, "-m", "mubench", "run", "--method", "./mine.py:MyMethod",
       "--task", "tiny.toml", "--case", "b-6", "--device", "cpu")  # fmt: skip


def can_mount():
    command = shutil.which("unshare")
    return command and subprocess.run([command, "-rm", "true"], capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="the system gives users no namespaces")


def run(script, *command, cwd, **environment):
    """A command after a shell script in a mount namespace; the command's home is unknown."""
    shell = ["unshare", "-rm", "sh", "-c", script, "sh"]
    kept = {name: value for name, value in os.environ.items() if name != "HOME"}
    env = kept | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run([*shell, *command], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture
def elsewhere():
    """A folder on another file system."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("there is no other file system")
    path = shm / f"mubench-{uuid.uuid4().hex}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--isolate",)])
def test_a_complete_cache_that_is_read_only_serves_without_a_home(
    library, folder, elsewhere, option
):
    """The results lie on another file system, and the original was not read out before."""
    own = copy_of(library, folder / "cache")
    for key in keys(own.store, READOUTS):
        own.store.remove(READOUTS, key)
    script = "mount --bind cache cache && mount -o remount,ro,bind cache || exit 9; "
    script += '! touch cache/x 2> errors || exit 8; exec "$@"'
    done = run(script, *RUN, *option, "--out", str(elsewhere), cwd=folder,
               MUBENCH_CACHE=str(folder / "cache"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "all 3 models are cached" in done.stderr
    names = [path.suffix for path in elsewhere.rglob("*") if path.is_file()]
    assert sorted(names) == [".json", ".npz", ".npz", ".npz", ".npz"]


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("size", ["16k", "72k"])  # no room for a model, and room for one
def test_a_disk_that_is_full_while_models_are_trained_is_one_line(folder, size):
    (folder / "cache").mkdir()
    script = f'mount -t tmpfs -o size={size} tmpfs cache || exit 9; "$@"; code=$?; '
    script += "find cache -name '*.tmp' >&2; exit $code"
    done = run(script, *RUN, cwd=folder, MUBENCH_CACHE=str(folder / "cache"))
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "the disk is full: free space, or name another place" in last
    assert "Traceback" not in done.stderr
    assert not list((folder / "results").rglob("*"))


def test_a_gold_is_trained_into_an_object_store_and_read_by_another_host(
    library, tmp_path, monkeypatch
):
    variables = {"MUBENCH_CACHE": "s3://golds/trained", "XDG_CACHE_HOME": str(tmp_path)}
    for name, value in (s3_environment() | variables).items():
        monkeypatch.setenv(name, value)
    loaded = library.loaded
    ref = loaded.golds(loaded.cases[0])[0]
    with loop.threads(1):
        train(GoldLibrary(loaded, Store()), ref)
    other = GoldLibrary(loaded, Store())
    assert other.is_ready(ref)
    assert other.readout(ref, ref.case).content == library.readout(ref, ref.case).content
    name = "weights.safetensors"
    assert other.model_entry(ref).content(name) == library.model_entry(ref).content(name)
    library.readout(loaded.originals[0], loaded.cases[0])
    export_bundle(library, loaded.cases[:1], tmp_path / "golds.zip")
    assert import_bundle(Store(), tmp_path / "golds.zip") == (1, 3)
    assert other.missing(loaded.cases[:1]) == []


@pytest.mark.slow
def test_a_sweep_over_an_object_store_needs_no_shared_disk(folder):
    grid = 'tasks = ["tiny.toml"]\nmethods = ["original"]\ncases = ["b-6"]\n'
    (folder / "grid.toml").write_text(grid)
    command = [sys.executable, "-m", "mubench", "sweep", "grid.toml", "--device", "cpu"]
    for host, num_jobs in (("one", 4), ("two", 1)):
        variables = s3_environment() | {
            "MUBENCH_CACHE": "s3://golds/swept",
            "XDG_CACHE_HOME": str(folder / f"cache of {host}"),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [*command, "--out", host],
            cwd=folder, env=os.environ | variables, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{num_jobs} of {num_jobs} jobs done" in done.stderr
    one, two = (sorted((folder / host).rglob("*.npz")) for host in ("one", "two"))
    assert len(one) == 4
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
