"""Spoiled files of every kind are accepted or refused: no traceback, nothing written elsewhere.

Each good file is spoiled at one to three places by a value that is known to hurt. A short run is
part of every test run; the long one takes about a minute.
"""

import contextlib
import copy
import json
import math
import zipfile
from dataclasses import asdict
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mubench._util.backends.manifest import _manifest_sha
from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold, UserError
from mubench.gold.bundle import export_bundle, import_bundle
from mubench.record.check import read_results
from mubench.record.folder import readout_beside
from mubench.run.isolation.host import Described
from mubench.run.sweep.grid import read_grid
from mubench.task.protocol import protocol
from mubench.task.spec import parse_task
from tests.helpers.lab import Lab, make_task
from tests.helpers.tiny import TINY

EFFORT = pytest.mark.parametrize(
    "effort", [pytest.param(1, id="short"), pytest.param(40, id="long", marks=pytest.mark.slow)]
)

NASTY = [
    None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5,
    1e-320, 1e308, math.nan, math.inf, -math.inf, "", " ", ".", "..", "../x", "/etc/passwd", "a/b",
    "a\0b", "a\nb", "\x1b[2J", "é", "\u202e", "\u0430llcnn", "a" * 5000, "nan", "1", "<b>", "b",
    [], [[]], {}, {"": ""}, {"x": [1, {"y": math.nan}]}, [1, "a", None], [0.5] * 1000,
]  # fmt: skip


def deep(depth, leaf=0):
    for level in range(depth):
        leaf = [leaf] if level % 2 else {"a": leaf}
    return leaf


NASTY += [deep(50), deep(400)]


def places(value, path=()):
    """The path of everything in a value of JSON, the value itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


@st.composite
def spoiled(draw, good, more=()):
    """A good value of JSON, spoiled at one to three places."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(value))
        if not paths:
            break
        *groups, key = draw(st.sampled_from(paths))
        place = value
        for group in groups:
            place = place[group]
        match draw(st.sampled_from(["replace", "replace", "replace", "delete", "again", "add"])):
            case "replace":
                place[key] = copy.deepcopy(draw(st.sampled_from([*NASTY, *more])))
            case "delete":
                del place[key]
            case "again" if isinstance(place, list):
                place.append(copy.deepcopy(place[key]))
            case _ if isinstance(place, dict):
                place[draw(st.text(max_size=9))] = copy.deepcopy(draw(st.sampled_from(NASTY)))
    return value


def fuzz(effort, examples, strategy, check):
    """Has a check see so many spoiled values."""
    quiet = list(HealthCheck)

    @settings(max_examples=effort * examples, deadline=None, suppress_health_check=quiet)
    @given(strategy)
    def run(value):
        check(value)

    run()


def toml(value):
    """A value as TOML; what TOML has no word for becomes nothing that it reads."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float | date):
        return repr(value) if isinstance(value, float) else value.isoformat()
    return json.dumps(value)


def document(value):
    return "\n".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items())


def good_task():
    task = parse_task(TINY, "tiny").model_dump(mode="json", exclude_none=True)
    del task["data"]["test_share"]
    return task


@EFFORT
def test_tasks(effort):
    names = ["resnet18", "vit", "step", "adamw", "class", "random", "folder", "digits", [3, 2]]
    good = good_task()
    assert parse_task(document(good), "good") == parse_task(TINY, "tiny")

    def check(value):
        try:
            task = parse_task(document(value), "spoiled")
            cases = task.cases(("a", "b", "c", "d"))
        except UserError:
            return
        assert task.spec_sha and all(words for _, words in protocol(task))
        assert all(len(case.id) < 200 and "/" not in case.id for case in cases)

    fuzz(effort, 30, spoiled(good, [*names, date(2026, 1, 1)]), check)


GRID = {
    "tasks": ["tiny"],
    "methods": ["retrain", {"name": "tmu", "lr": [0.01, 0.1], "inner": {"depth": 1}}],
    "cases": ["b-6"],
    "seeds": [0, 1],
}


@EFFORT
def test_grids(effort, tiny):
    def load(name):
        if name != "tiny":
            raise UserError(f"unknown task {name!r}")
        return tiny

    def describe(name, choices):
        try:
            json.dumps(
                [asdict(one) for one in choices], allow_nan=False
            )  # as it goes to another process
        except ValueError as error:
            raise UserError(str(error)) from None
        return [
            Described(
                name=name, distribution="x", distribution_version="1", source_sha256="0" * 64,
                requires=frozenset(), control=False, reference=name, choice=choice,
                parameters=dict(choice.settings),
            )
            for choice in choices
        ]  # fmt: skip

    assert len(read_grid(document(GRID), "good", load, describe)) == 6

    def check(value):
        try:
            read_grid(document(value), "spoiled", load, describe)
        except UserError:
            return

    fuzz(effort, 60, spoiled(GRID, [date(2026, 1, 1), ["tiny", "tiny"], "all"]), check)


def tree(folder):
    return {path for path in folder.rglob("*") if ".lock" not in path.name}


@EFFORT
def test_records(effort, tmp_path):
    task = make_task(classes=("a",), sizes=(8,))
    lab = Lab(tmp_path / "results", task, num_peers=0, num_test=10)
    path = lab.add("tried", "a-8")
    good = json.loads(path.read_text())
    assert len(read_results(lab.results, [task]).checked) == 1
    before = tree(tmp_path)

    def check(value):
        path.write_text(json.dumps(value))
        read = read_results(lab.results, [task], thorough=True)
        assert len(read.checked) + len(read.rejected) == 1
        assert tree(tmp_path) == before

    fuzz(effort, 40, spoiled(good), check)


def test_an_empty_hash_of_the_original_is_refused(tmp_path):
    """What `test_records` found once."""
    task = make_task(classes=("a",), sizes=(8,))
    lab = Lab(tmp_path / "results", task, num_peers=0, num_test=10)
    path = lab.add("tried", "a-8")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"nothing_readout_sha256": ""}))
    (complaint,) = read_results(lab.results, [task], thorough=True).rejected
    assert "nothing_readout_sha256" in str(complaint)


def flips():
    """Places in a file, as shares of its length, and the bytes that they get."""
    return st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)


def flipped(content, changes):
    content = bytearray(content)
    for share, value in changes:
        content[round(share * (len(content) - 1))] = value
    return bytes(content)


@EFFORT
def test_readouts(effort, tmp_path):
    task = make_task(classes=("a",), sizes=(8,))
    lab = Lab(tmp_path / "results", task, num_peers=0, num_test=10)
    path = readout_beside(lab.add("tried", "a-8"))
    good = path.read_bytes()

    def check(changes):
        path.write_bytes(flipped(good, changes))
        read = read_results(lab.results, [task], thorough=True)
        assert len(read.checked) + len(read.rejected) == 1

    fuzz(effort, 20, flips(), check)


@pytest.fixture
def bundle(library, tmp_path):
    """A good bundle: the content of each file by name, and the bytes of the archive."""
    path = tmp_path / "good.zip"
    export_bundle(library, library.loaded.cases[:1], path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, path.read_bytes()


def refused_whole(tmp_path, content):
    """A bundle that is taken in whole, or refused with nothing taken in or written elsewhere."""
    store = Store(tmp_path / "cache")
    (tmp_path / "spoiled.zip").write_bytes(content)
    before = tree(tmp_path)
    try:
        import_bundle(store, tmp_path / "spoiled.zip")
    except DoesNotHold:
        assert tree(tmp_path) == before
    for kind in ("models", "readouts"):
        for entry in (store.root / kind).glob("[!.]*"):
            store.remove(kind, entry.name)


@EFFORT
def test_archives(effort, bundle, tmp_path):
    (tmp_path / "cache/models").mkdir(parents=True)
    (tmp_path / "cache/readouts").mkdir()
    fuzz(effort, 20, flips(), lambda changes: refused_whole(tmp_path, flipped(bundle[1], changes)))


@EFFORT
def test_manifests(effort, bundle, tmp_path):
    (tmp_path / "cache/models").mkdir(parents=True)
    (tmp_path / "cache/readouts").mkdir()
    files, _ = bundle
    manifests = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}

    def check(value):
        texts = {}
        for name, manifest in value.items():
            if isinstance(manifest, dict) and {"files", "provenance"} <= manifest.keys():
                with contextlib.suppress(TypeError, ValueError):  # sealed, as a forger would
                    manifest["sha256"] = _manifest_sha(manifest["files"], manifest["provenance"])
            texts[name] = json.dumps(manifest).encode()
        contents = {name: text for name, text in files.items() if name not in manifests} | texts
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in contents.items():
                archive.writestr(zipfile.ZipInfo(name or "none"), text)
        refused_whole(tmp_path, path.read_bytes())

    fuzz(effort, 20, spoiled(manifests), check)


def test_a_planted_defect_is_found(monkeypatch):
    monkeypatch.setattr("mubench.task.spec._reason", lambda item: item["no such key"])
    with pytest.raises(KeyError, match="no such key"):
        test_tasks(1)
