"""Putting global state back."""

import os
import random

import pytest
import torch

from mubench.method.global_state import GLOBAL_STATE, restored


def test_state_is_put_back_also_after_an_error(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    state = random.getstate()
    with pytest.raises(RuntimeError), restored():
        torch.set_default_dtype(torch.float16)
        del os.environ["KEPT"]
        random.seed(3)
        raise RuntimeError
    assert torch.get_default_dtype() == torch.float32
    assert os.environ["KEPT"] == "1"
    assert random.getstate() == state


def test_what_is_unchanged_is_left_alone(monkeypatch):
    def never(_):
        raise AssertionError("nothing was changed")

    for name, (read, _) in GLOBAL_STATE.items():
        monkeypatch.setitem(GLOBAL_STATE, name, (read, never))
    with restored():
        pass
