"""Caches of models."""

import subprocess

from mubench._util.cache import Store


def copy_of(store, folder):
    """A store of its own with the same entries."""
    subprocess.run(["cp", "-r", str(store.root), str(folder)], check=True)
    return Store(folder)
