"""What an entry of the leaderboard may not claim: each claim is a line, and nothing breaks."""

import io
import os
import stat
import zipfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import numpy as np
import pytest

from mubench.record.again import write_mark
from mubench.record.folder import ResultsFolder, read_record
from tests.helpers.commands import call
from tests.helpers.entries import HOME, made_mark
from tests.helpers.lab import edit


def one(entry):
    return next((entry / HOME).glob("b-6*.json"))


def each(entry, **changes):
    for path in (entry / HOME).glob("*.json"):
        edit(path, **changes)


def tree(folder):
    """Everything in a folder: path to what it is."""
    return {path: content(path) for path in sorted(folder.rglob("*"))}


def content(path):
    if path.is_symlink():
        return path.readlink()
    return path.read_bytes() if path.is_file() else stat.S_IFMT(path.stat().st_mode)


def refused(entry):
    """The complaints about an entry: a line each, and nothing is written or removed."""
    before = tree(entry)
    done = call("verify", entry)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert tree(entry) == before
    lines = done.stdout.split("\n")
    assert lines.pop() == ""
    assert lines
    assert all(": " in line and line.isprintable() for line in lines), lines
    return lines


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
    "a parameter that is no number": {"parameters": {"lr": float("nan")}},
    "an endless parameter": {"parameters": {"a": [{"b": float("inf")}]}},
    "golds that are words": {"golds": ["a"]},
    "seconds beyond the age of the world": {"cost__seconds": 1e308},
    "retraining beyond the age of the world": {"cost__retrain_seconds": 1e300},
    "memory beyond counting": {"cost__peak_memory_bytes": 10**400},
    "threads beyond counting": {"threads": 10**400},
    "samples in letters": {"cost__forward_samples": "many"},
    "half a sample": {"cost__forward_samples": 0.5},
    "a metric that is no number": {"metrics__delta__value": float("nan")},
    "a metric in letters": {"metrics__delta": "0"},
    "a seed in letters": {"seed": "zero"},
    "no case": {"case": None},
    "a method that is none": {"method": None},
    "another schema": {"schema_version": 2},
    "a gold under a path": {"golds": [
        {"key": f"../../{name}", "seed": 1, "readout_sha256": "0" * 64} for name in "ab"
    ]},
    "a gold under no key": {"golds": [{"key": "", "seed": 1, "readout_sha256": "0" * 64}]},
    "reports that are words": {"reports": {"easy": ["a"]}},
    "a cost that is a list": {"cost": []},
    "letters that are none": {"device": "\ud800"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_that_cannot_be(entry, kind):
    path = one(entry)
    edit(path, **FIELDS[kind])
    (line,) = [line for line in refused(entry) if line.startswith(f"{HOME}/{path.name}")]
    assert "is not a record" in line


TEXTS = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "nesting a hundred thousand deep": b"[" * 100_000,
    "a number alone": b"1" * 5000,
    "a field twice over": b'{"task": "small@1", "task": "small@1"}',
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_file_that_is_no_record(entry, kind):
    path = one(entry)
    path.write_bytes(TEXTS[kind])
    (line,) = [line for line in refused(entry) if line.startswith(f"{HOME}/{path.name}")]
    assert "is not a record" in line


def test_a_record_far_too_large(entry, monkeypatch):
    monkeypatch.setattr("mubench.record.folder.MOST_TEXT_BYTES", 100)
    assert any("is larger than 100 bytes" in line for line in refused(entry))


NUMBERS = {
    "gradients without a pass": (
        {"cost__forward_samples": 0, "cost__backward_samples": 10}, "epochs_equivalent",
    ),
    "a cost of nothing": ({"cost__epochs_equivalent": 0.0}, "states epochs_equivalent = 0.0"),
    "dearer retraining": ({"cost__retrain_epochs_equivalent": 1e9}, "retrain_epochs_equivalent"),
    "samples in no time": ({"cost__seconds": 0.0}, "samples that passed in no time"),
    "a budget of one's own": ({"budget": 5.0}, "states budget = 5.0"),
    "a better delta": ({"metrics__delta__value": 1.25}, "states delta = 1.25"),
    "a metric of one's own": ({"metrics__beauty": {"value": 1.0, "count": 6}}, "['beauty']"),
    "another count": ({"metrics__delta__count": 10**9}, "delta count"),
    "a smaller error": ({"metrics__delta_signed__stderr": 9.0}, "delta_signed stderr"),
    "a higher floor": ({"floor__delta__value": 99.0}, "floor delta"),
    "no metrics": ({"metrics": {}}, "status ok and no metrics"),
    "no cost": ({"cost": None}, "states no cost"),
    "no golds": ({"golds": []}, "states golds = 0"),
    "no readout": ({"readout_sha256": None}, "readout"),
    "another readout": ({"readout_sha256": "0" * 64}, "readout"),
    "a failure with metrics": ({"status": "error"}, "has the status error and yet metrics"),
    "another task": ({"task": "small@2"}, "no such task here"),
    "a case that there is not": ({"case": "z-6"}, "not where it belongs"),
    "a path for a case": ({"case": "../../b-6"}, "not where it belongs"),
    "a path for a method": ({"method": "../gentle-ascent"}, "not where it belongs"),
    "a name without end": ({"method": "a" * 5000}, "not where it belongs"),
    "a name of several lines": ({"method": "a\nb\x1b[31m"}, "not where it belongs"),
    "a name with a zero": ({"method": "a\0b"}, "not where it belongs"),
    "another spec": ({"spec_sha": "f" * 64}, "another spec"),
    "reports of one sample": ({"reports": {"easy": [True]}}, "report"),
    "reports of a measure that there is not": ({"reports": {"<b>": [True] * 6}}, "report"),
    "within the budget, not so": ({"flags": ["over-budget"]}, "flags deny it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_statement_that_does_not_follow(entry, kind):
    path = one(entry)
    changes, expected = NUMBERS[kind]
    edit(path, **changes)
    (line,) = [line for line in refused(entry) if line.startswith(f"{HOME}/{path.name}")]
    assert expected in line


WORDS = {
    "markup for a device": ({"device": "<img src=x>"}, "device is not plain text"),
    "a bar in a device": ({"device": "a | b"}, "device is not plain text"),
    "a device of several lines": ({"device": "a\n## b"}, "device is not plain text"),
    "another script in a device": ({"device": "Int\u0435l"}, "device is not plain text"),
    "a device without end": ({"device": "a" * 10_000}, "device is not plain text"),
    "a number of 400 digits": ({"parameters": {"a": 10**400}}, "parameter a is not plain text"),
    "markup for a parameter": ({"parameters": {"<b>": 1}}, "name of a parameter is not plain"),
    "markup in a parameter": ({"parameters": {"a": ["<b>"]}}, "parameter a is not plain text"),
    "markup deep in a parameter": (
        {"parameters": {"a": {"b": "`<b>"}}}, "parameter b is not plain text",
    ),
    "a flag of one's own": ({"flags": ["best"]}, "has the flag 'best', which there is not"),
    "a day to come": (
        {"started_at": (datetime.now(UTC) + timedelta(days=9)).isoformat()}, "cannot have been",
    ),
    "a day long gone": ({"started_at": "1970-01-01T00:00:00+00:00"}, "cannot have been"),
    "no date": ({"started_at": "<b>now</b>"}, "which is no time in UTC"),
    "a local time": ({"started_at": "2026-01-01T00:00:00"}, "which is no time in UTC"),
    "markup for a version": ({"distribution_version": "<b>"}, "is no version of a distribution"),
    "markup for a package": ({"versions": {"<b>": "1"}}, "is not plain text"),
    "an access that there is not": ({"requires": ["forget", "everything"]}, "has the access"),
    "the answers": ({"requires": ["forget", "gold_labels"]}, "for controls only"),
    "being a control": ({"control": True}, "controls come with mubench only"),
    "golds of another set": ({"forget_sha256": "0" * 64}, "not those of its D_f"),
    "golds of other data": ({"data_fingerprint": "0" * 64}, "not those of its D_f"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WORDS)
def test_a_claim_of_the_whole_entry(entry, kind):
    changes, expected = WORDS[kind]
    each(entry, **changes)
    for path in list((entry / HOME).glob("*.json")):  # to where the parameters say that it lies
        stem = read_record(path).stem
        for old in (path, path.with_suffix(".npz")):
            old.rename(old.with_name(stem + old.suffix))
    assert any(expected in line for line in refused(entry))


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
    assert any(line.startswith(f"{HOME}/{path.name}: ") for line in refused(entry))


def test_an_array_that_unpacks_to_far_too_much(entry, monkeypatch):
    monkeypatch.setattr("mubench.record.readout.MOST_BYTES", 50)
    assert any("larger than 50 bytes" in line for line in refused(entry))


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("target", ["/dev/zero", "nowhere", "."])
def test_a_link_for_a_file(entry, suffix, target):
    path = one(entry).with_suffix(suffix)
    path.unlink()
    path.symlink_to(target)
    assert any(path.stem in line for line in refused(entry))


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_pipe_for_a_file(entry, suffix):
    path = one(entry).with_suffix(suffix)
    path.unlink()
    os.mkfifo(path)
    assert any("cannot be read: it is no file" in line for line in refused(entry))


def test_a_link_for_the_readout_of_a_gold(entry):
    gold = next((entry / "small/golds").iterdir())
    gold.unlink()
    gold.symlink_to("/dev/zero")
    assert any(f"{gold.name} is a link and not a file" in line for line in refused(entry))


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
    complaints = [line for line in refused(entry) if line.startswith(f"small/{name}: ")]
    assert any(expected in line for line in complaints), complaints


def test_a_method_called_as_the_folder_of_golds(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, method="golds")
        path.rename(entry / "small/golds" / path.name)
    lines = refused(entry)
    assert any(line.startswith("small/golds/b-6") and "not belong" in line for line in lines)


STRAYS = {
    "a file beside the tasks": lambda e: (e / "run.py").write_text("x"),
    "a file beside the methods": lambda e: (e / "small/setup.py").write_text("x"),
    "a folder of code": lambda e: (e / HOME / "code").mkdir(),
    "a link to a folder": lambda e: (e / "small/other").symlink_to(e / HOME),
    "a link for a source": lambda e: link(e / HOME / "source.py"),
    "a file of code": lambda e: (e / HOME / "helper.py").write_text("x"),
    "a compiled file": lambda e: (e / HOME / "source.pyc").write_text("x"),
    "a hidden file": lambda e: (e / HOME / ".DS_Store").write_text("x"),
    "a name of several lines": lambda e: (e / HOME / "a\nb\x1b[31m").write_text("x"),
    "a name that is no text": lambda e: (e / HOME / os.fsdecode(b"\xff")).write_text("x"),
    "a readout without a record": lambda e: (e / HOME / "b-7.npz").write_bytes(b"x"),
    "records that were replaced": lambda e: (e / HOME / "superseded").mkdir(),
    "a note of a failure": lambda e: (e / HOME / "b-6.traceback.txt").write_text("x"),
    "a folder among the golds": lambda e: (e / "small/golds/again").mkdir(),
    "a link for the marks": lambda e: (e / HOME / "again").symlink_to(e / HOME),
    "a file for the marks": lambda e: (e / HOME / "again").write_text("x"),
}


def link(path):
    path.rename(path.parents[3] / "elsewhere.py")
    path.symlink_to(path.parents[3] / "elsewhere.py")


@pytest.mark.parametrize("kind", STRAYS)
def test_what_does_not_belong_there(entry, kind):
    STRAYS[kind](entry)
    assert any("does not belong here" in line for line in refused(entry))


def test_a_gold_that_no_record_names(entry):
    gold = next((entry / "small/golds").iterdir())
    (gold.parent / "0123456789abcdef.npz").write_bytes(gold.read_bytes())
    expected = "small/golds/0123456789abcdef.npz: is of a model that no record was scored against"
    assert expected in refused(entry)


def test_a_seed_of_ones_own_choice(entry):
    for path in (entry / HOME).glob("*.json"):
        edit(path, seed=7)
        for suffix in (".json", ".npz"):
            old = path.with_suffix(suffix)
            old.rename(old.with_name(old.name.replace("seed0", "seed7")))
    assert any("b-6, d-6: lacks a seed that small@1 asks for" in line for line in refused(entry))


@pytest.mark.parametrize(
    "line",
    [
        f"gentle-ascent @ file:///home/me/gentle.whl#sha256={'0' * 64}",
        f"gentle-ascent @ ./gentle.whl#sha256={'0' * 64}",
        f"gentle-ascent @ git+file:///home/me/gentle@{'0' * 40}",
        "gentle-ascent",
        "gentle-ascent>=1.0",
        "gentle-ascent==1.0\n--index-url x",
        "gentle-ascent==1.*",
        f"gentle-ascent @ https://example.org/x@{'0' * 40}",
        f"gentle-ascent @ http://example.org/x#sha256={'0' * 64}",
        f"gentle-ascent @ git+https://example.org/\u0430@{'0' * 40}",
        "gentle-ascent==1.0; python_version > '3'",
        "\u0434gentle-ascent==1.0",
    ],
)
def test_a_requirement_that_others_cannot_install(entry, line):
    for path in (entry / HOME).glob("*.json"):
        edit(path, distribution="gentle-ascent", distribution_version="1.0")
    (entry / HOME / "source.py").unlink()
    (entry / HOME / "requirements.txt").write_text(f"{line}\n")
    assert any("must be one line that pins gentle-ascent" in line for line in refused(entry))


def test_requirements_that_are_no_text(entry):
    each(entry, distribution="gentle-ascent", distribution_version="1.0")
    (entry / HOME / "source.py").unlink()
    (entry / HOME / "requirements.txt").write_bytes(b"gentle-ascent==1.0\xff\n")
    assert any("must be one line that pins gentle-ascent" in line for line in refused(entry))


def add_seed(entry, seed, cases=("b", "d")):
    """Copies of the records, under another seed."""
    for case in cases:
        (path,) = (entry / HOME).glob(f"{case}-6-seed0-*.json")
        new = path.with_name(path.name.replace("seed0", f"seed{seed}"))
        new.write_bytes(path.read_bytes())
        new.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes())
        edit(new, seed=seed)


@pytest.mark.parametrize(
    ("seed", "cases", "expected"),
    [
        (7, "bd", "its seeds are not 0, 1 and so on"),
        (-1, "bd", "its seeds are not 0, 1 and so on"),
        (1, "b", "its cases have different numbers of seeds"),
    ],
)
def test_a_choice_of_seeds(entry, seed, cases, expected):
    add_seed(entry, seed, cases)
    assert any(expected in line for line in refused(entry))


def test_one_more_seed_for_all_is_no_choice(entry):
    add_seed(entry, 1)
    assert call("verify", entry).exit_code == 0


def test_two_codes_under_one_name(entry):
    """Other parameters, by somebody else, in the folder of a method."""
    path = one(entry)
    parameters = read_record(path).parameters | {"lr": 0.5}
    for old in list((entry / HOME).glob("*.json")):
        new = old.with_name("new.json")
        new.write_bytes(old.read_bytes())
        edit(new, parameters=parameters, distribution="other", distribution_version="1.0")
        stem = read_record(new).stem
        new.rename(old.with_name(f"{stem}.json"))
        old.with_name(f"{stem}.npz").write_bytes(old.with_suffix(".npz").read_bytes())
    (entry / HOME / "requirements.txt").write_text("other==1.0\n")
    assert any("is of different versions of the code" in line for line in refused(entry))


MARKS = {
    "no mark": b"{}",
    "no text": b"\xff",
    "a mark of another record": None,
}


@pytest.mark.parametrize("kind", MARKS)
def test_a_mark_that_is_none(entry, kind):
    path = one(entry)
    mark = entry / HOME / "again" / path.name
    write_mark(ResultsFolder(entry), f"{HOME.as_posix()}/{path.name}", made_mark("0" * 64))
    if MARKS[kind] is not None:
        mark.write_bytes(MARKS[kind])
    assert any(line.startswith(f"{HOME}/again/{path.name}: it is ") for line in refused(entry))


def test_a_mark_of_no_record(entry):
    write_mark(ResultsFolder(entry), f"{HOME.as_posix()}/gone.json", made_mark("0" * 64))
    assert any(line.startswith(f"{HOME}/again/gone.json: ") for line in refused(entry))
