"""Leaves torch, the random generators, the working folder and the environment changed."""

import os
import random
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True, kw_only=True)
class Bad:
    requires: ClassVar[frozenset[str]] = frozenset({"forget"})

    def unlearn(self, problem):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(7)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)
        random.seed(1)
        os.chdir("/")
        os.environ["MUBENCH_CACHE"] = "/nowhere"
        return problem.original
