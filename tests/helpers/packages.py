"""Installing a package by hand: no network, no build, nothing outside of a folder."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path


def install(project, site):
    """Puts a project's modules and metadata into `site`, as pip would."""
    content = tomllib.loads((project / "pyproject.toml").read_text())
    meta, packed = content["project"], content["tool"]["setuptools"]
    site.mkdir(exist_ok=True)
    for name in packed.get("packages", ()):
        shutil.copytree(project / name, site / name)
    for name in packed.get("py-modules", ()):
        shutil.copy(project / f"{name}.py", site)
    name, version = meta["name"], meta["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{info.name}/METADATA,,\n")
    lines = []
    for group, entries in meta.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return info


def run(*command, cwd, site=None, **environment):
    """A command in a new process, in which what is in `site` is installed."""
    paths = [str(site)] if site else []
    paths += [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    # where `mubench` and `pytest` of this interpreter are
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": scripts, "PYTHONPATH": os.pathsep.join(paths), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def succeed(*command, **where):
    """What a command that must succeed prints."""
    done = run(*command, **where)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bring_tasks(site, package, files):
    """Puts a package of tasks into `site`; the content (bytes) of each file by its name."""
    folder = site / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mubench.tasks]\n{package} = {package}\n")
    return folder
