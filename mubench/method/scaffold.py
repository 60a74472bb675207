"""`mubench new-method`: a complete small package around one method, to be edited.

As written it is gradient ascent, passes every check and can be measured, so that each edit starts
from something that works.
"""

import importlib.util
import keyword
import re
from importlib.metadata import version
from pathlib import Path
from string import Template

from mubench._util.errors import UserError

from .discovery import available_methods

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "The unlearning method $name, for mubench."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["annotated-types>=0.6", "mubench>=$version", "torch>=2.4"]

[project.entry-points."mubench.methods"]
$name = "$module:$class_name"

[dependency-groups]
test = ["pytest>=8.2"]

[tool.setuptools]
py-modules = ["$module"]
"""

METHOD = '''\
"""$class_name: say here what the idea is and where it comes from.

As generated it is gradient ascent (arXiv:2109.13398): the loss on D_f is raised, up to that of a
guess, so that the network stays in one piece.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt
from mubench import Batch, Problem
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class $class_name:
    """Raise the loss on D_f (arXiv:2109.13398)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget"})  # or retain, holdout, training_log

    epochs: Annotated[int, Ge(1)] | None = None  # passes over D_f; None: 0.1 of the original's
    # epochs, at least one
    lr: Annotated[float, Gt(0)] = 0.003  # step size of SGD

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the original after ascent on D_f."""
        ceiling = math.log(problem.num_classes)  # the loss of a guess

        def loss(logits_NK: Tensor, batch: Batch) -> Tensor:
            loss_N = F.cross_entropy(logits_NK, batch.labels_N, reduction="none")
            return -loss_N.clamp(max=ceiling).mean()

        problem.fine_tune(
            problem.original,
            problem.forget,
            epochs=problem.schedule_share(self.epochs),
            lr=self.lr,
            loss=loss,
        )
        return problem.original
'''

TEST = """\
from mubench.checks import parametrize_with_checks

from $module import $class_name


@parametrize_with_checks([$class_name()])
def test_conforms(check):
    check()
"""

README = """\
# $name

An unlearning method for mubench, which measures such methods. All of it is in
`$module.py`; `mubench show ./$module.py:$class_name` prints its parameters.

```sh
mubench check ./$module.py:$class_name
mubench run --method ./$module.py:$class_name --task digits-subset
```

Once installed (`pip install -e .`) it is called `$name`:

```sh
mubench show $name
mubench run --method $name --task digits-subset --set lr=0.01
```
"""

WORKFLOW = """\
# Every push: the method conforms, and what it reaches on the embedded digits (no download).
name: check
on: [push, pull_request]
permissions:
  contents: read
jobs:
  check:
    runs-on: ubuntu-latest
    env:
      MUBENCH_CACHE: .mubench-cache
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
          cache: pip
          cache-dependency-path: pyproject.toml
      - uses: actions/cache@v4 # the original and the golds: trained once
        with:
          path: .mubench-cache
          key: mubench-golds
      - run: pip install --upgrade pip
      - run: pip install . --group test
      - run: pytest
      - run: mubench run --method $name --task digits-subset
      - uses: actions/upload-artifact@v4
        with:
          name: results
          path: results
      # To be told when a change makes it worse: commit the artifact above as the folder baseline.
      - if: hashFiles('baseline/**') != ''
        run: mubench regress baseline results --format markdown >> "$$GITHUB_STEP_SUMMARY"
"""

GITIGNORE = """\
__pycache__/
*.egg-info/
build/
.mubench-cache/
/results/
/submission/
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "$module.py": METHOD,
    "tests/test_$module.py": TEST,
    "README.md": README,
    ".github/workflows/check.yml": WORKFLOW,
    ".gitignore": GITIGNORE,
}


def new_method(name: str, parent: Path) -> list[Path]:
    """Writes the package.

    Args:
        name: of the method and its distribution, such as `gentle-ascent`.
        parent: the folder in which a folder `name` is made.

    Returns:
        The files.

    Raises:
        UserError: the name cannot be used, or there is such a folder.
    """
    module = name.replace("-", "_")
    if not SLUG.fullmatch(name) or keyword.iskeyword(module):
        raise UserError(f"a method is named like gentle-ascent, in small letters, not {name!r}")
    if taken := available_methods().get(name):
        owner = taken[0].dist.name if taken[0].dist else taken[0].value
        raise UserError(f"{owner} has a method {name!r} already: choose another name")
    if importlib.util.find_spec(module):
        raise UserError(f"{module}.py would hide the module {module!r}: choose another name")
    folder = parent / name
    if folder.exists():
        raise UserError(f"there is a {folder} already: choose another name or --dir")
    words = {
        "name": name,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "version": version("mubench"),
    }
    written = []
    for path, text in FILES.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(file)
    return written
