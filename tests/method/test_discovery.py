"""Discovery and parameters of methods; what the built-in ones do is in test_methods_builtin."""

import ast
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mubench
from mubench.method.discovery import METHODS_GROUP, available_methods, load_method
from mubench.method.parameters import (
    configure,
    describe_parameters,
    parse_settings,
    resolved_parameters,
)
from tests.helpers.methods import PLUGIN

SOURCE = Path(mubench.__file__).parent
PROJECT = SOURCE.parent / "pyproject.toml"


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return load_method(f"{file}:MyMethod")


def test_the_core_knows_no_builtin_method():
    names = {entry.name for entry in entry_points(group=METHODS_GROUP)}
    assert {"tmu", "finetune", "retrain"} <= names
    # words that the harness needs for what they mean: the two models every case has
    names -= {"original", "oracle"}
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "mubench_methods" not in ast.dump(node), file
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{file.name} knows {node.value!r}"


def test_installed_entry_points_are_those_of_the_project():
    if not PROJECT.is_file():
        pytest.skip("runs from an installed wheel")
    wanted = tomllib.loads(PROJECT.read_text())["project"]["entry-points"][METHODS_GROUP]
    installed = {
        entry.name: entry.value
        for entry in entry_points(group=METHODS_GROUP)
        if entry.dist and entry.dist.name == "mubench"
    }
    assert installed == wanted, "entry points changed: run `pip install -e .` again"


def test_a_file_is_a_method(plugin):
    assert plugin.name == "my-method"
    assert plugin.distribution is None
    assert plugin.requires == {"forget"}
    assert plugin.summary == "Does a thing (arXiv:1)."
    assert not plugin.is_control


def test_a_module_is_a_method(tmp_path, monkeypatch):
    (tmp_path / "amodule.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_method("amodule:MyMethod").name == "my-method"


def test_an_entry_point_is_a_method():
    method = load_method("finetune")
    assert (method.name, method.distribution) == ("finetune", "mubench")
    assert method.version == mubench.__version__


def test_the_source_hash_follows_the_source(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    before = load_method(f"{file}:MyMethod").source_sha
    assert load_method(f"{file}:MyMethod").source_sha == before
    file.write_text(PLUGIN + "\n# changed\n")
    assert load_method(f"{file}:MyMethod").source_sha != before


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("finetnue", "did you mean 'finetune'"),
        ("./nowhere.py:Mine", "there is no file ./nowhere.py"),
        ("no.such.module:Mine", "cannot be imported: ModuleNotFoundError"),
        ("mubench_methods.finetune:FineTun", "did you mean 'FineTune'"),
        ("mubench.method.problem:Problem", "is not a dataclass"),
    ],
)
def test_a_wrong_reference_is_one_clear_message(reference, expected):
    with pytest.raises(ValueError, match=expected):
        load_method(reference)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("@dataclass(frozen=True, kw_only=True)\nclass MyMethod", "class MyMethod", "dataclass"),
        ("@dataclass(frozen=True, kw_only=True)\nclass My", "@dataclass\nclass My", "not frozen"),
        ("def unlearn", "def forget", "has no unlearn"),
        ("requires: ClassVar", "needs: ClassVar", "declares no access"),
        ('{"forget"}', '{"forgets"}', "did you mean 'forget'"),
        ("from annotated_types", "1 / 0\nfrom annotated_types", "ZeroDivisionError"),
    ],
)
def test_a_class_that_is_no_method_is_told_what_to_change(tmp_path, old, new, expected):
    file = tmp_path / "mine.py"
    assert old in PLUGIN
    file.write_text(PLUGIN.replace(old, new))
    with pytest.raises(ValueError, match=expected):
        load_method(f"{file}:MyMethod")


def install(folder, distribution, value):
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{METHODS_GROUP}]\nshared = {value}\n")


def test_two_distributions_with_one_name_are_both_named(tmp_path, monkeypatch):
    install(tmp_path, "one", "amodule:MyMethod")
    install(tmp_path, "two", "amodule:MyMethod")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(available_methods()["shared"]) == 2
    with pytest.raises(ValueError, match=r"claimed by (one|two) .* and (one|two) "):
        load_method("shared")


def test_a_broken_plugin_hurts_nobody_else(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("raise OSError('broken')")
    install(tmp_path, "one", "broken_plugin:Mine")
    monkeypatch.syspath_prepend(tmp_path)
    assert "shared" in available_methods()
    assert load_method("finetune").name == "finetune"
    with pytest.raises(ValueError, match="'shared' of one cannot be imported: OSError: broken"):
        load_method("shared")


def test_settings_are_toml_values_else_strings():
    assert parse_settings(["lr=1e-3", "n=3", "on=true", "mode=cosine", "xs=[1, 2]"]) == {
        "lr": 1e-3, "n": 3, "on": True, "mode": "cosine", "xs": [1, 2],
    }  # fmt: skip
    assert parse_settings(["inner.depth=2", "inner.name=x", "a-b=1"]) == {
        "inner": {"depth": 2, "name": "x"},
        "a_b": 1,
    }


@pytest.mark.parametrize("settings", [["lr"], ["=1"], ["lr=1", "lr=2"], ["a=1", "a.b=2"]])
def test_settings_that_say_nothing_or_two_things_are_refused(settings):
    with pytest.raises(ValueError, match="--set"):
        parse_settings(settings)


def test_parameters_round_trip(plugin):
    instance = configure(plugin, {"lr": "1e-3", "mode": "b", "inner": {"depth": 4}})
    assert resolved_parameters(instance) == {
        "lr": 0.001, "mode": "b", "epochs": None, "inner": {"depth": 4},
    }  # fmt: skip
    assert configure(plugin, resolved_parameters(instance)) == instance


def test_all_mistakes_in_parameters_come_at_once(plugin):
    settings = {"lrr": 1, "lr": -1, "mode": "c", "inner": {"dpeth": 1}}
    with pytest.raises(ValueError, match="no parameter") as caught:
        configure(plugin, settings)
    message = str(caught.value)
    assert "my-method has no parameter 'lrr'; did you mean 'lr'?" in message
    assert "my-method.lr: Input should be greater than 0, got -1" in message
    assert "my-method.mode" in message
    assert "my-method.inner has no parameter 'dpeth'; did you mean 'depth'?" in message


def test_parameters_are_described_by_their_comments(plugin):
    rows = {p.name: p for p in describe_parameters(plugin.cls)}
    assert rows["lr"].type == "float > 0"
    assert rows["lr"].meaning == "step size"
    assert rows["mode"].meaning == "which way, told on two lines"
    assert rows["mode"].type == "'a' | 'b'"
    assert rows["epochs"].type == "int | None"
    assert (rows["inner.depth"].default, rows["inner.depth"].meaning) == (1, "how deep")


@pytest.mark.parametrize("name", sorted(available_methods()))
def test_every_builtin_parameter_has_a_meaning(name):
    method = load_method(name)
    assert method.summary
    for parameter in describe_parameters(method.cls):
        assert parameter.meaning, f"{name}.{parameter.name}"
