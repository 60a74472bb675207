"""What a method is made of, and its hash."""

import sys

import pytest

from mubench.method.discovery import load_method
from mubench.method.source import source_files, source_sha
from tests.helpers.methods import PLUGIN

CLASS = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True, kw_only=True)
class Mine:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        return problem.original
"""

FILES = {
    "parts/__init__.py": "",
    "parts/mine.py": "import parts.deep.inner\nfrom . import near\nfrom mubench import Problem\n"
    + CLASS,
    "parts/near.py": "def late():\n    from .far import thing\n    return thing\n",
    "parts/far.py": "thing = 1\n",
    "parts/stranger.py": "from .mine import Mine\n",
    "parts/deep/__init__.py": "",
    "parts/deep/inner.py": "import json\nfrom ..sibling import *\n",
    "parts/sibling.py": "",
    "beside.py": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("parts", "beside")]:
        del sys.modules[name]


def names(files, folder):
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_modules_that_it_imports_wherever_in_them(package):
    method = load_method("parts.mine:Mine")
    assert names(method.files, package) == FILES.keys() - {"parts/stranger.py", "beside.py"}


def test_another_module_of_the_distribution(package):
    (package / "parts/far.py").write_text("import beside\n")
    cls = load_method("parts.mine:Mine").cls
    assert "beside.py" not in names(source_files(cls), package)
    assert "beside.py" in names(source_files(cls, ["beside"]), package)


def test_one_file_is_itself(tmp_path):
    (tmp_path / "mine.py").write_text(CLASS)
    method = load_method(f"{tmp_path / 'mine.py'}:Mine")
    assert method.files == (tmp_path / "mine.py",)
    assert method.source_sha256 == source_sha([tmp_path / "mine.py"])


def test_builtin_methods_have_a_source_each():
    tmu, finetune = (load_method(name) for name in ("tmu", "finetune"))
    assert [path.name for path in finetune.files] == ["__init__.py", "finetune.py"]
    assert {"_tmu_twin.py", "_tmu_features.py", "tmu.py"} < {path.name for path in tmu.files}
    assert tmu.source_sha256 != finetune.source_sha256


def test_the_source_hash_follows_the_source(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    before = load_method(f"{file}:MyMethod").source_sha256
    assert load_method(f"{file}:MyMethod").source_sha256 == before
    file.write_text(PLUGIN + "\n# changed\n")
    assert load_method(f"{file}:MyMethod").source_sha256 != before
