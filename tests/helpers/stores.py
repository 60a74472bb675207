"""Caches of models."""

import subprocess

from mubench._util.cache import Store
from mubench.gold.library import GoldLibrary


def copy_of(library, folder):
    """A library over a cache of its own with the same entries."""
    subprocess.run(["cp", "-r", str(library.store.root), str(folder)], check=True)
    return GoldLibrary(library.loaded, Store(folder))


def keys(store, kind):
    """The keys of all entries of a kind, sorted."""
    return sorted(path.parent.name for path in store.root.glob(f"{kind}/[!.]*/manifest.json"))
