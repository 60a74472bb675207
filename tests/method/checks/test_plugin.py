"""A third party's package, `tests/data/plugin`, and ways in which one can be broken."""

import os
import shutil

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.method.discovery import available_methods
from tests.helpers.packages import install, run, succeed
from tests.helpers.places import PLUGIN


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the plugin is installed."""
    site = tmp_path_factory.mktemp("site")
    install(PLUGIN, site)
    return site


def test_tox_has_installed_it():
    if "TOX_ENV_NAME" not in os.environ:
        pytest.skip("not run by tox")
    (entry,) = available_methods()["dampening"]
    assert entry.dist.name == "mubench-dampening"


@pytest.mark.slow
def test_it_passes_its_own_test(site, tmp_path):
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    printed = succeed("pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path, site=site)
    assert "38 passed" in printed


@pytest.mark.slow
def test_it_is_a_method_like_any_other(site, tmp_path):
    listed = succeed("mubench", "list", "methods", cwd=tmp_path, site=site)
    assert "mubench-dampening 0.1.0" in listed
    for reference in ("dampening", "mubench_dampening.dampening:Dampening"):
        shown = succeed("mubench", "show", reference, cwd=tmp_path, site=site)
        assert "a weight is selected where I_f > alpha * I_D" in shown
        assert "access: forget, retain" in shown
    assert "failed" not in succeed("mubench", "check", "dampening", cwd=tmp_path, site=site)


def project(folder, name, module, method="shared", text="raise OSError('broken')"):
    folder.mkdir()
    (folder / f"{module}.py").write_text(text)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        f'[project.entry-points."mubench.methods"]\n{method} = "{module}:Mine"\n'
        f'[tool.setuptools]\npy-modules = ["{module}"]\n'
    )
    return folder


@pytest.mark.slow
def test_a_broken_plugin_breaks_no_command_but_its_own(site, tmp_path):
    own = tmp_path / "site"
    install(project(tmp_path / "a", "mubench-broken", "broken_plugin"), own)
    install(PLUGIN, own)
    where = {"cwd": tmp_path, "site": own}
    assert "mubench-broken 1.0" in succeed("mubench", "list", "methods", **where)
    succeed("mubench", "show", "dampening", **where)
    for command in ("show", "check"):
        done = run("mubench", command, "shared", **where)
        assert done.returncode == 2
        assert "'shared' of mubench-broken cannot be imported: OSError: broken" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_distributions_with_one_name_are_both_named(tmp_path):
    own = tmp_path / "site"
    install(project(tmp_path / "a", "mubench-one", "plugin_one"), own)
    install(project(tmp_path / "b", "mubench-two", "plugin_two"), own)
    where = {"cwd": tmp_path, "site": own}
    listed = succeed("mubench", "list", "methods", **where)
    assert "mubench-one" in listed
    assert "mubench-two" in listed
    for command in (("show", "shared"), ("check", "shared"),
                    ("run", "--task", "digits-subset", "--method", "shared")):  # fmt: skip
        done = run("mubench", *command, **where)
        assert done.returncode == 2
        assert "mubench-one (plugin_one:Mine)" in done.stderr
        assert "mubench-two (plugin_two:Mine)" in done.stderr


def test_a_method_is_named_in_three_ways_everywhere(tmp_path, monkeypatch):
    """By entry point above; by file and by module here."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PLUGIN / "mubench_dampening", tmp_path / "mubench_dampening")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("from mubench_dampening.dampening import Dampening as Mine\n")
    for command in ("show", "check"):
        for reference in ("./mine.py:Mine", "mubench_dampening.dampening:Dampening"):
            result = CliRunner().invoke(main, [command, reference])
            assert result.exit_code == 0, result.output
