"""What an entry of the leaderboard may not claim: each claim is a line, and nothing breaks."""

import io
import zipfile
from hashlib import sha256

import numpy as np
import pytest

from mubench.record.folder import read_record
from tests.helpers.commands import call
from tests.helpers.entries import HOME
from tests.helpers.lab import edit


def one(entry):
    return next((entry / HOME).glob("b-6*.json"))


FIELDS = {
    "seconds below zero": {"cost__seconds": -1.0},
    "retraining in no time": {"cost__retrain_seconds": 0.0},
    "retraining in next to no time": {"cost__retrain_seconds": 1e-320},
    "samples below zero": {"cost__forward_samples": -1},
    "samples beyond counting": {"cost__forward_samples": 10**400},
    "memory below zero": {"cost__peak_memory_bytes": -1},
    "seconds that are no number": {"cost__seconds": float("nan")},
    "endless seconds": {"cost__seconds": float("inf")},
    "no threads": {"threads": 0},
    "a status of its own": {"status": "perfect"},
    "a field more": {"surprise": 1},
    "parameters that are none": {"parameters": [1]},
    "golds that are words": {"golds": ["a"]},
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_that_cannot_be(entry, kind):
    path = one(entry)
    edit(path, **FIELDS[kind])
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{HOME}/{path.name}")]
    assert "is not a record" in line


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def with_arrays(content, **changes):
    with np.load(io.BytesIO(content)) as arrays:
        return packed(**(dict(arrays) | changes))


def with_header(content, rows):
    """A readout whose labels claim another number of rows than they have."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            array = source.read(name)
            if name.startswith("forget_labels"):
                array = array.replace(b"(6,), ", f"({rows},), ".encode())
            archive.writestr(name, array)
    return target.getvalue()


READOUTS = {
    "text": lambda c: with_arrays(c, forget_labels=np.array(["a"] * 6)),
    "complex numbers": lambda c: with_arrays(c, forget_logits=np.ones((6, 4), complex)),
    "dates": lambda c: with_arrays(c, test_labels=np.zeros(60, "datetime64[s]")),
    "whole numbers for logits": lambda c: with_arrays(c, forget_logits=np.ones((6, 4), int)),
    "NaN": lambda c: with_arrays(c, forget_logits=np.full((6, 4), np.nan, np.float32)),
    "no samples": lambda c: with_arrays(c, forget_labels=np.zeros(0, np.int16)),
    "one axis too many": lambda c: with_arrays(c, forget_labels=np.zeros((6, 1), np.int16)),
    "an array less": lambda c: packed(retain=np.array([1, 2])),
    "more rows than there are": lambda c: with_header(c, 10**12),
    "a count of three": lambda c: with_arrays(c, retain=np.array([1, 2, 3])),
    "an impossible count": lambda c: with_arrays(c, retain=np.array([9, 2])),
    "other labels": lambda c: with_arrays(c, forget_labels=np.zeros(6, np.int16)),
    "Python objects": lambda c: with_arrays(c, forget_labels=np.array([{}] * 6)),
    "no archive": lambda c: b"x" * 100,
    "nothing": lambda c: b"",
}


@pytest.mark.parametrize("kind", READOUTS)
def test_a_readout_that_cannot_be(entry, kind):
    path = one(entry)
    readout = path.with_suffix(".npz")
    content = READOUTS[kind](readout.read_bytes())
    readout.write_bytes(content)
    edit(path, readout_sha256=sha256(content).hexdigest())
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert any(line.startswith(f"{HOME}/{path.name}: ") for line in done.stdout.splitlines())


def test_an_array_that_unpacks_to_far_too_much(entry, monkeypatch):
    monkeypatch.setattr("mubench.record.readout.MOST_BYTES", 50)
    done = call("verify", entry)
    assert done.exit_code == 1
    assert "larger than 50 bytes" in done.stdout


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("target", ["/dev/zero", "nowhere", "."])
def test_a_link_for_a_file(entry, suffix, target):
    path = one(entry).with_suffix(suffix)
    path.unlink()
    path.symlink_to(target)
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert any(path.stem in line for line in done.stdout.splitlines())


def test_a_link_for_the_readout_of_a_gold(entry):
    gold = next((entry / "small/golds").iterdir())
    gold.unlink()
    gold.symlink_to("/dev/zero")
    done = call("verify", entry)
    assert done.exit_code == 1
    assert f"{gold.name} is a link and not a file" in done.stdout


NAMES = {
    "letters of another script": ({"method": "gentle-\u0430scent"}, "is named like gentle-ascent"),
    "markup": ({"method": "<b>best"}, "is named like gentle-ascent"),
    "capitals": ({"method": "Gentle"}, "is named like gentle-ascent"),
    "a method of mubench": ({"method": "tmu"}, "is the name of a method of mubench"),
    "mubench's own": ({"distribution": "mubench"}, "claims to come with mubench, which has no"),
    "nearly mubench's own": ({"distribution": "MuBench"}, "is spelt 'MuBench'"),
    "mubench in another script": ({"distribution": "mub\u0435nch"}, "no name of a distribution"),
    "markup for a distribution": ({"distribution": "<script>"}, "no name of a distribution"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_that_misleads(entry, kind):
    changes, expected = NAMES[kind]
    for path in (entry / HOME).glob("*.json"):
        edit(path, **changes)
    name = read_record(one(entry)).method
    home = entry / "small" / name
    if home != entry / HOME:
        (entry / HOME).rename(home)
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    complaints = [line for line in done.stdout.splitlines() if line.startswith(f"small/{name}: ")]
    assert any(expected in line for line in complaints), done.stdout


def test_a_method_called_as_the_folder_of_golds(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, method="golds")
        path.rename(entry / "small/golds" / path.name)
    done = call("verify", entry)
    assert done.exit_code == 1
    assert "small/golds/b-6" in done.stdout and "does not belong here" in done.stdout


STRAYS = {
    "a file beside the tasks": lambda e: (e / "run.py").write_text("x"),
    "a file beside the methods": lambda e: (e / "small/setup.py").write_text("x"),
    "a folder of code": lambda e: (e / HOME / "code").mkdir(),
    "a link to a folder": lambda e: (e / "small/other").symlink_to(e / HOME),
    "a link for a source": lambda e: link(e / HOME / "source.py"),
}


def link(path):
    path.rename(path.parents[3] / "elsewhere.py")
    path.symlink_to(path.parents[3] / "elsewhere.py")


@pytest.mark.parametrize("kind", STRAYS)
def test_what_does_not_belong_there(entry, kind):
    STRAYS[kind](entry)
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "does not belong here" in done.stdout, done.stdout


def test_a_gold_that_no_record_names(entry):
    gold = next((entry / "small/golds").iterdir())
    (gold.parent / "0123456789abcdef.npz").write_bytes(gold.read_bytes())
    done = call("verify", entry)
    assert done.exit_code == 1
    assert "small/golds/0123456789abcdef.npz: is of a gold that no record was sc" in done.stdout


def test_a_seed_of_ones_own_choice(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, seed=7)
        for suffix in (".json", ".npz"):
            old = path.with_suffix(suffix)
            old.rename(old.with_name(old.name.replace("seed0", "seed7")))
    done = call("verify", entry)
    assert done.exit_code == 1
    assert "b-6, d-6: lacks a seed that small@1 asks for, of 0" in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        f"gentle-ascent @ file:///home/me/gentle.whl#sha256={'0' * 64}",
        f"gentle-ascent @ ./gentle.whl#sha256={'0' * 64}",
        f"gentle-ascent @ git+file:///home/me/gentle@{'0' * 40}",
        "gentle-ascent",
        "gentle-ascent>=1.0",
        "gentle-ascent==1.0\n--index-url x",
    ],
)
def test_a_requirement_that_others_cannot_install(entry, line):
    for path in (entry / HOME).glob("*.json"):
        edit(path, distribution="gentle-ascent", distribution_version="1.0")
    (entry / HOME / "source.py").unlink()
    (entry / HOME / "requirements.txt").write_text(f"{line}\n")
    done = call("verify", entry)
    assert done.exit_code == 1
    assert "must be one line that pins gentle-ascent" in done.stdout
