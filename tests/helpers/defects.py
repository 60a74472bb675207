"""A good method as text, and ways to give it a defect."""

GOOD = '''
"""A method."""
import gc
import os
import random
import socket
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Gt
from torch import nn

import mubench.training.loop
from mubench._util.cache import cache_root

STATE = []

@dataclass(frozen=True, kw_only=True)
class Mine:
    """Fine-tunes on D_f."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    lr: Annotated[float, Gt(0)] = 0.01  # step size

    def unlearn(self, problem):
        forget, retain = problem.forget, problem.retain
        model = problem.original
        problem.fine_tune(model, forget, epochs=2, lr=self.lr)
        return model
'''

RETURN = "        return model\n"


def before_return(line):
    return {RETURN: f"        {line}\n{RETURN}"}


def write(folder, changes):
    text = GOOD
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = folder / "mine.py"
    file.write_text(text)
    return f"{file}:Mine"
