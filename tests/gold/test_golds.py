import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from mubench._util.cache import Store
from mubench._util.hashing import derive_seed
from mubench.gold import audit, cached
from mubench.gold.build import build
from mubench.gold.bundle import export_bundle, import_bundle
from mubench.gold.cached import missing
from mubench.gold.loaded import LoadedTask
from mubench.record.readout import parse_readout
from mubench.training import loop
from tests.helpers.tiny import TINY


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "cache")


def copy_of(store, folder):
    """A store of its own with the same entries."""
    subprocess.run(["cp", "-r", str(store.root), str(folder)], check=True)
    return Store(folder)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_a_run_needs_is_cached_once(tiny, tiny_store):
    assert missing(tiny, tiny_store, tiny.cases[:1]) == []
    absent = missing(tiny, tiny_store, tiny.cases[:2])
    assert [ref.label for ref in absent] == ["gold 1 of b-12", "gold 2 of b-12"]


def test_keys_follow_everything_that_determines_a_model_and_nothing_else(tiny, tiny_task):
    def keys(**update):
        task = tiny_task.model_copy(update=update)
        loaded = LoadedTask(task, tiny.device)
        return loaded.original.key, loaded.golds(loaded.cases[0])[0].key

    original, gold = keys()
    recipe = tiny_task.train.model_copy(update={"lr": 0.05})
    assert keys(description="other words", measure=tiny_task.measure) == (original, gold)
    assert keys(name="another-task") == (original, gold)
    assert keys(train=recipe)[0] != original
    assert keys(train=recipe)[1] != gold
    # the original does not know the forget set, so all cases share it
    other = tiny_task.forget.model_copy(update={"sizes": (5,)})
    assert keys(forget=other)[0] == original
    assert keys(forget=other)[1] != gold


def test_a_gold_never_saw_its_forget_set_and_was_trained_from_scratch(tiny, tiny_store):
    case = tiny.cases[0]
    for ref in [tiny.original, *tiny.golds(case)]:
        assert audit.verify(tiny, tiny_store, ref) == []
        found = tiny_store.read("models", ref.key).provenance["audit"]
        assert found["forget_samples_seen"] == 0
        assert found["samples"] == (240 if ref.case is None else 234)
        assert found["parameters_left_as_initialised"] == []


def test_golds_differ_between_seeds_and_equal_a_training_by_hand(tiny, tiny_store):
    one, two = (cached.load_weights(tiny, tiny_store, ref) for ref in tiny.golds(tiny.cases[0]))
    assert not torch.equal(next(one.parameters()), next(two.parameters()))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    by_hand = tiny.fresh(derive_seed("initialise", 1))
    retain = tiny.split(tiny.cases[0])[1]
    seed = derive_seed("train", 1)
    loop.fit(by_hand, retain, tiny.task.train, tiny.pipeline, seed=seed)
    torch.set_num_threads(before)
    pairs = zip(one.state_dict().values(), by_hand.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def rewrite(store, ref, change):
    entry = store.read("models", ref.key)
    provenance = json.loads(json.dumps(entry.provenance))
    files = {"weights.safetensors": entry.content("weights.safetensors")}
    change(provenance, files)
    store.write("models", ref.key, files, provenance)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p, f: p["audit"].update(forget_samples_seen=3), "3 samples of D_f"),
        (lambda p, f: p["audit"].update(initial_sha256="0" * 64), "fresh initialisation"),
        (
            lambda p, f: p["audit"].update(parameters_left_as_initialised=["conv"]),
            "never trained conv",
        ),
        (lambda p, f: p["identity"].update(seed=9), "another model's"),
    ],
)
def test_the_audit_finds_a_gold_that_is_none(tiny, tiny_store, tmp_path, change, expected):
    store = copy_of(tiny_store, tmp_path / "copy")
    ref = tiny.golds(tiny.cases[0])[0]
    rewrite(store, ref, change)
    assert any(expected in defect for defect in audit.verify(tiny, store, ref))


def test_the_audit_finds_a_readout_of_other_weights(tiny, tiny_store, tmp_path):
    store = copy_of(tiny_store, tmp_path / "copy")
    one, two = tiny.golds(tiny.cases[0])
    other = store.read("models", two.key).content("weights.safetensors")
    rewrite(store, one, lambda p, f: f.update({"weights.safetensors": other}))
    assert any("does not follow" in defect for defect in audit.verify(tiny, store, one))


def test_the_audit_counts_leaked_samples(tiny):
    """Fed a training set with D_f in it, the audit says how many it saw."""
    case = tiny.cases[0]
    ref = tiny.golds(case)[0]
    model = tiny.fresh(0)
    weights = cached.tensors_of(model)
    found = audit.audit_training(tiny, ref, tiny.train, model, weights, weights)
    assert found["forget_samples_seen"] == 6
    assert len(found["parameters_left_as_initialised"]) == found["parameters"]


@pytest.mark.parametrize("kind", ["models", "readouts"])
def test_a_damaged_file_is_reported_and_replaced_by_the_same_numbers(
    tiny, tiny_store, tmp_path, capsys, kind
):
    store = copy_of(tiny_store, tmp_path / "copy")
    ref = tiny.golds(tiny.cases[0])[0]
    expected = cached.gold_readout(tiny, store, ref)
    names = {"models": (ref.key, "weights.safetensors"),
             "readouts": (tiny.readout_key(ref), "readout.npz")}  # fmt: skip
    key, name = names[kind]
    flip_a_bit(store.root / kind / key / name)
    if kind == "models":
        store.remove("readouts", tiny.readout_key(ref))
    build(tiny, store, missing(tiny, store, tiny.cases[:1]))
    message = capsys.readouterr().err
    assert "damaged file" in message
    assert name in message
    assert cached.gold_readout(tiny, store, ref) == expected
    assert audit.verify(tiny, store, ref) == []


def test_the_readout_is_what_the_weights_say(tiny, tiny_store):
    case = tiny.cases[0]
    ref = tiny.golds(case)[0]
    readout = parse_readout(cached.gold_readout(tiny, tiny_store, ref), "gold")
    model = cached.load_weights(tiny, tiny_store, ref)
    forget, retain = tiny.split(case)
    with torch.no_grad():
        logits = model(tiny.pipeline.normalise(forget.images))
        correct = model(tiny.pipeline.normalise(retain.images)).argmax(1).eq(retain.labels).sum()
    assert np.allclose(readout.forget_logits_NK, logits.numpy(), atol=1e-5)
    assert readout.forget_labels_N.tolist() == forget.labels.tolist()
    assert (readout.retain_correct, readout.retain_total) == (int(correct), 234)
    assert len(readout.test_labels_M) == len(tiny.test) == 60


def test_a_bundle_is_enough_to_score_with(tiny, tiny_store, empty, tmp_path):
    path = tmp_path / "golds.zip"
    size = export_bundle(tiny, tiny_store, tiny.cases[:1], path)
    assert size == path.stat().st_size
    assert import_bundle(empty, path) == (1, 2)
    assert missing(tiny, empty, tiny.cases[:1]) == []
    ref = tiny.golds(tiny.cases[0])[0]
    assert not empty.holds("models", ref.key)
    assert cached.gold_readout(tiny, empty, ref) == cached.gold_readout(tiny, tiny_store, ref)


def test_a_bundle_of_what_is_not_cached_is_refused(tiny, tiny_store, tmp_path):
    with pytest.raises(ValueError, match=r"not cached: .*gold 1 of d-6.*mubench gold build"):
        export_bundle(tiny, tiny_store, tiny.cases, tmp_path / "golds.zip")


def test_a_bundle_is_checked_by_content(tiny, tiny_store, empty, tmp_path):
    import zipfile

    path, bad = tmp_path / "golds.zip", tmp_path / "bad.zip"
    export_bundle(tiny, tiny_store, tiny.cases[:1], path)
    with zipfile.ZipFile(path) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}

    def rejected(expected, changed):
        with zipfile.ZipFile(bad, "w") as bundle:
            for name, content in changed.items():
                bundle.writestr(name, content)
        with pytest.raises(ValueError, match=expected):
            import_bundle(empty, bad)
        assert empty.keys("models") == []

    weights = next(name for name in files if name.endswith(".safetensors"))
    rejected("does not match its checksums", files | {weights: files[weights][:-1] + b"x"})
    key = weights.split("/")[1]
    moved = {name.replace(key, "0" * 64): c for name, c in files.items() if key in name}
    rejected("another model than it says", moved)
    rejected("not a bundle: it holds", files | {"../../evil": b"x"})
    rejected("not a bundle: it holds", files | {"models/k/a/b": b"x"})
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="not a bundle"):
        import_bundle(empty, path)


def test_diverging_recipes_are_one_error(tiny_task, empty):
    recipe = tiny_task.train.model_copy(update={"lr": 1e9, "schedule": "constant"})
    task = tiny_task.model_copy(update={"train": recipe})
    loaded = LoadedTask(task, torch.device("cpu"))
    with pytest.raises(loop.Diverged):
        build(loaded, empty, [loaded.original])
    assert missing(loaded, empty, ()) == [loaded.original]


def build_command(folder):
    (folder / "tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 60"))
    return [sys.executable, "-m", "mubench", "gold", "build", "--task", "tiny.toml",
            "--case", "b-6"]  # fmt: skip


def models_in(folder):
    files = sorted(folder.glob("models/*/weights.safetensors"))
    return {path.parent.name: safetensors.torch.load(path.read_bytes()) for path in files}


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


def start_run(folder, cache, results):
    """`mubench run` from nothing: three trainings of some seconds, then the method."""
    command = [*build_command(folder), "--method", "finetune", "--out", str(results), "--again"]
    command[3:5] = ["run"]
    environment = os.environ | {"MUBENCH_CACHE": str(cache)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def metrics_in(results):
    (path,) = results.glob("tiny/finetune/*.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    return record["metrics"], record["floor"], record["readout_sha256"]


@pytest.mark.slow
def test_killed_at_random_moments_the_same_command_finishes(tmp_path):
    """`kill -9` ten times, while golds train and while the method runs: nothing is different."""
    assert start_run(tmp_path, tmp_path / "quiet", tmp_path / "quiet-results").wait() == 0
    cache, results = tmp_path / "killed", tmp_path / "killed-results"
    kills = 0
    for delay in np.random.default_rng(0).uniform(3, 14, size=10):
        run = start_run(tmp_path, cache, results)
        time.sleep(delay)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.wait()
    assert start_run(tmp_path, cache, results).wait() == 0
    assert kills >= 3
    assert metrics_in(results) == metrics_in(tmp_path / "quiet-results")
    expected, got = models_in(tmp_path / "quiet"), models_in(cache)
    assert got.keys() == expected.keys()
    for key, tensors in expected.items():
        assert all(torch.equal(tensors[name], got[key][name]) for name in tensors)
