"""Putting global state back."""

import os
import random
import resource
import sys

import pytest
import torch
from torch.nn import functional as F

from mubench.method.global_state import GLOBAL_STATE, restored, room_for_open_files
from mubench.training import precision


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


def test_patched_functions_and_methods_are_put_back():
    functions = F.relu, torch.nn.Module.__call__, torch.argmax
    with restored():
        F.relu = torch.argmax = torch.nn.Module.__call__ = None
    assert (F.relu, torch.nn.Module.__call__, torch.argmax) == functions


def test_closed_streams_are_opened_again(capfd):
    with restored():
        os.close(1)
        os.close(2)
        sys.stderr = None
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")
    assert sys.stderr is not None


def test_files_that_stay_open_leave_room_for_others():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
    files = []
    try:
        with room_for_open_files(), pytest.raises(OSError, match="Too many"):
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
        assert len(files) > 50
        files += [os.open(os.devnull, os.O_RDONLY) for _ in range(len(files))]
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_gpus_precision_and_choice_of_kernels_are_put_back():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, precision.float32_precision()
    with restored():
        cudnn.benchmark = cudnn.deterministic = True
        precision.set_float32_precision(("ieee", "tf32"))
    assert (cudnn.benchmark, cudnn.deterministic, precision.float32_precision()) == before
