"""Specs of small data sets, tasks on them, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest

from mubench.task.spec import DataSpec, Task

CIFAR10 = "087d4ccc75875968eb0c8e5aaa47c368b8d52028983baa5348602859cd72c12a"
CIFAR100 = "0a27ded4c3a9b04c590b6762a87f974b6b417462eef35de76859bd267b84af76"
DIGITS = "4339f37e9ae46331400e9541dd0ff9332f2223d2d207530a92405d106cb9a3e9"
SYNTHETIC_16 = "bbc341af80107a57963eb90a925d7c6cc7240409d2be07fc8ccad6a297bf3d7d"

REAL_DATA = os.environ.get("MUBENCH_DATA", "")


def needs_real(folder: str):
    """Marks a test of real data, skipped where that is not."""
    missing = not (REAL_DATA and (Path(REAL_DATA) / folder).is_dir())

    def mark(test):
        reason = f"MUBENCH_DATA holds no {folder}"
        return pytest.mark.real(pytest.mark.skipif(missing, reason=reason)(test))

    return mark


def spec_of(kind: str, name: str | None = None, size: int = 16, channels: int = 3, **more):
    mean_std = (0.5,) * channels
    return DataSpec(
        name=name or kind, kind=kind, image_size=size, mean=mean_std, std=mean_std, **more
    )


SYNTHETIC = spec_of("synthetic")
DIGITS_SPEC = spec_of("digits", size=8, channels=1)
CIFAR10_SPEC = spec_of("cifar10", size=32)


def task_of(data: DataSpec, draw: int = 0) -> Task:
    return Task.model_validate(
        {
            "name": "some-task",
            "version": 1,
            "data": data.model_dump(),
            "model": {"name": "resnet18"},
            "train": {
                "epochs": 1,
                "batch_size": 8,
                "optimizer": "sgd",
                "lr": 0.1,
                "schedule": "constant",
            },
            "forget": {"kind": "random", "sizes": (1,), "draw": draw},
        }
    )
