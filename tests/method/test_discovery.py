"""Finding methods: by entry point, file or module, and what is refused."""

import inspect
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mubench
from mubench.method.discovery import (
    METHODS_GROUP,
    MethodClass,
    available_methods,
    is_built_in,
    load_method,
)
from tests.helpers.methods import PLUGIN

SOURCE = Path(mubench.__file__).parent
PROJECT = SOURCE.parent / "pyproject.toml"


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
    assert inspect.getdoc(plugin.cls).partition("\n")[0] == "Does a thing (arXiv:1)."
    assert not plugin.control


def test_a_module_is_a_method(tmp_path, monkeypatch):
    (tmp_path / "amodule.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_method("amodule:MyMethod").name == "my-method"


def test_an_entry_point_is_a_method():
    method = load_method("finetune")
    assert (method.name, method.distribution) == ("finetune", "mubench")
    assert method.distribution_version == mubench.__version__


def test_the_code_of_a_method_is_its_distribution_version_and_source(plugin):
    assert plugin.code == (None, None, plugin.source_sha256)
    installed = load_method("finetune")
    assert installed.code == ("mubench", mubench.__version__, installed.source_sha256)
    by_file = MethodClass.of("another-name", plugin.cls, plugin.files)
    assert by_file.code == plugin.code
    assert MethodClass.of("my-method", plugin.cls, installed.files).code != plugin.code
    assert MethodClass.of("my-method", plugin.cls, plugin.files, "mine", "1").code != plugin.code


def test_a_control_says_so_or_sees_what_golds_get_right():
    is_control = {name: load_method(name).control for name in ("finetune", "oracle", "original")}
    assert is_control == {"finetune": False, "oracle": True, "original": True}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("finetnue", "did you mean 'finetune'"),
        ("./nowhere.py:Mine", "there is no file './nowhere.py'"),
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


def test_only_installed_methods_of_the_harness_itself_are_built_in():
    assert is_built_in("finetune")
    for reference in ("./finetune.py:FineTune", "mubench_methods.finetune:FineTune", "finetunee"):
        assert not is_built_in(reference)
