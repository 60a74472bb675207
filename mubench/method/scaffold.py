"""Writes a small, complete package with one unlearning method, for `mubench new-method`.

The generated method is gradient ascent. It passes every check and can be measured, so an author
starts from code that works.
"""

import importlib.util
import keyword
from importlib.metadata import version
from pathlib import Path
from string import Template

from mubench._util.errors import UserError

from .discovery import SLUG, available_methods

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

The generated code is gradient ascent (arXiv:2109.13398), which raises the loss on D_f. The loss of
each sample is capped at the loss of a random guess. Otherwise ascent would ruin the network.
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

    epochs: Annotated[int, Ge(1)] | None = None  # passes over D_f; None: a tenth of the
    # original's epochs, at least one
    lr: Annotated[float, Gt(0)] = 0.003  # step size of SGD

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns the original after ascent on D_f."""
        ceiling = math.log(problem.num_classes)  # the loss of a random guess

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

A machine unlearning method for the benchmark mubench. The code is in `$module.py`.
`mubench show ./$module.py:$class_name` prints its parameters.

```sh
mubench check ./$module.py:$class_name
mubench run --method ./$module.py:$class_name --task digits-subset
```

After `pip install -e .`, mubench knows the method by its name, `$name`:

```sh
mubench show $name
mubench run --method $name --task digits-subset --set lr=0.01
```
"""

WORKFLOW = """\
# On every push: checks the method and measures it on the digits of scikit-learn (no download).
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
      - uses: actions/cache@v4 # keeps the original and the golds, which are trained once
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
      # To see when a change makes the method worse, commit the artifact above as folder baseline.
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
"""Path of each generated file to its content, both as `string.Template`."""


def new_method(name: str, parent: Path) -> list[Path]:
    """Writes the package of a new method.

    Args:
        name: name of the method and of its distribution, such as `gentle-ascent`.
        parent: the folder in which the package's folder, `name`, is made.

    Returns:
        Paths of the written files.

    Raises:
        UserError: the name cannot be used, or the folder exists already.
    """
    module = name.replace("-", "_")
    if not SLUG.fullmatch(name) or keyword.iskeyword(module):
        raise UserError(f"a method is named like gentle-ascent, in lower case, not {name!r}")
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
