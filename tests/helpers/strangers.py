"""A stranger's package with one method and its ledger, installed as far as Python can tell."""

import sys

METHOD = '''\
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Gentle:
    """Forgets gently."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    lr: float = 0.5  # step size

    def unlearn(self, problem):
        return problem.original
'''

LEDGER = """\
paper = "Gentle Forgetting"
arxiv = "2501.00001"
code = "someone/gentle"
commit = "abc1234"
access = ["forget"]
design = ["class"]

[verified]
by = "its author"
tests = ["tests/test_gentle.py::test_step"]

[[claims]]
metric = "mean delta"
value = 1.5
setting = "made data"
where = "table 9"
measure = "delta"
task = "made"

[[broken]]
what = "It does not\\nrun | at all."
issues = ["someone/gentle#3"]
"""


def install(folder, monkeypatch, ledger=LEDGER):
    """Writes the package `gentle_pkg` with the method `gentle`; the file of its ledger.

    Args:
        folder: where the package lies; it is put on the path of modules.
        monkeypatch: undoes that.
        ledger: the text of the ledger.
    """
    monkeypatch.syspath_prepend(str(folder))
    for name in ("gentle_pkg", "gentle_pkg.gentle"):  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    package, known = folder / "gentle_pkg", folder / "gentle_pkg-1.0.dist-info"
    (package / "ledger").mkdir(parents=True)
    known.mkdir()
    (package / "__init__.py").write_text("")
    (package / "gentle.py").write_text(METHOD)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: gentle-pkg\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text(
        "[mubench.methods]\ngentle = gentle_pkg.gentle:Gentle\n"
    )
    file = package / "ledger" / "gentle.toml"
    file.write_text(ledger)
    return file
