"""The machine and the code that measure, as a record names them."""

import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from mubench._util.errors import UserError
from mubench._util.files import HARNESS
from mubench._util.hashing import digest, sha256_of

TAKES_PART = (
    "_util/arrays.py",
    "_util/backends/disk.py",
    "_util/backends/manifest.py",
    "_util/backends/remote.py",
    "_util/cache.py",
    "_util/errors.py",
    "_util/files.py",
    "_util/hashing.py",
    "_util/messages.py",
    "_util/toml.py",
    "gold/identity.py",
    "gold/library.py",
    "gold/loaded.py",
    "method/access.py",
    "method/discovery.py",
    "method/global_state.py",
    "method/meter.py",
    "method/operations.py",
    "method/parameters.py",
    "method/presets.py",
    "method/problem.py",
    "method/source.py",
    "method/trainer.py",
    "record/flags.py",
    "record/folder.py",
    "record/membership.py",
    "record/metrics.py",
    "record/readout.py",
    "record/schema.py",
    "record/stacked.py",
    "run/cell.py",
    "run/execute.py",
    "run/flags.py",
    "run/isolation/child.py",
    "run/isolation/conversation.py",
    "run/isolation/fork_server.py",
    "run/isolation/host.py",
    "run/isolation/leftovers.py",
    "run/isolation/linux.py",
    "run/isolation/private_files.py",
    "run/isolation/wire_format.py",
    "run/machine.py",
    "task/architectures.py",
    "task/data.py",
    "task/folders.py",
    "task/sources.py",
    "task/spec.py",
    "training/allcnn.py",
    "training/derivatives.py",
    "training/ensemble.py",
    "training/layerwise.py",
    "training/loop.py",
    "training/networks.py",
    "training/precision.py",
    "training/vit.py",
)
"""The files that take part in measuring: they are the harness's share in what a record is of.

A change of any other file, such as the page, leaves every record current. A test holds the list to
what this module and the isolated process import."""

PACKAGES = ("mubench", "torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Python and the packages that take part in measuring: name to version."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@cache
def harness_sha256() -> str:
    """SHA-256 of the source files that take part in measuring."""
    return digest([[name, sha256_of((HARNESS / name).read_bytes())] for name in TAKES_PART])


@cache
def git_revision() -> str | None:
    """Git's name of the checkout that the harness runs from; None for an installed package."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = HARNESS.parent
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """The maker's name of a GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory_bytes(device: torch.device) -> int:
    """Most bytes of memory that CUDA's allocator, or on the CPU this process, has had in use."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def pick_device(name: str) -> torch.device:
    """A device by name; `auto` is the first GPU, or the CPU if there is no GPU.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r} is none: cpu, cuda, cuda:1 or auto") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} is none of cpu, cuda, cuda:1, auto")
    # Tensors on `cuda` say that they are on `cuda:0`. So one name for one device.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device
