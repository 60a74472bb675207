"""Golds made by commands in processes of their own."""

import sys

import safetensors.torch

from tests.helpers.tiny import TINY


def build_command(folder):
    (folder / "tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 60"))
    return [sys.executable, "-m", "mubench", "gold", "build", "--task", "tiny.toml",
            "--case", "b-6"]  # fmt: skip


def models_in(folder):
    files = sorted(folder.glob("models/*/weights.safetensors"))
    return {path.parent.name: safetensors.torch.load(path.read_bytes()) for path in files}
