"""GPUs: what a test needs that runs on one, and what stands in for one elsewhere."""

import pytest
import torch

GPU = torch.device("cuda", 0)

needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
"""The marks of a test on a GPU: `tox -e gpu` runs them all."""


class FakeGpu:
    """Notes what the harness asks of a GPU, in order; installed by `monkeypatch`."""

    def __init__(self, monkeypatch):
        self.calls = []
        for name, answer in {
            "synchronize": None, "reset_peak_memory_stats": None, "max_memory_allocated": 123,
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, self._noting(name, answer))

    def _noting(self, name, answer):
        def call(device):
            assert device == GPU
            self.calls.append(name)
            return answer

        return call
