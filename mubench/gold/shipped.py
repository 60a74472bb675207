"""Bundles that come with tasks: what is in them need not be trained.

A package of tasks can hold bundles beside its tasks. A bundle is looked into when a model is
missing that it has, whatever task it is named after, because tasks share models. The bundle that is
named after the task comes first. It is checked as any other bundle, and nothing that is cached
gives way to it.
"""

import zipfile
from collections.abc import Sequence
from importlib import resources

from mubench._util.errors import DoesNotHold
from mubench._util.messages import counted, say
from mubench.task.installed import shipped_files

from .bundle import import_bundle
from .identity import ModelRef
from .library import MODELS, READOUTS, GoldLibrary


def take_shipped(library: GoldLibrary, missing: Sequence[ModelRef]) -> list[ModelRef]:
    """Takes missing models from the bundles that have them, and says so.

    Args:
        library: where the models are kept.
        missing: models that are needed and not cached.

    Returns:
        Those that no bundle has.
    """
    own = f"{library.loaded.task.name}.zip"
    bundles = sorted(shipped_files(".zip"), key=lambda found: found[1].name != own)
    for package, file in bundles if missing else ():
        with resources.as_file(file) as path:
            try:
                with zipfile.ZipFile(path) as bundle:
                    held = {tuple(name.split("/")[:2]) for name in bundle.namelist()}
                if not any(name in held for ref in missing for name in _names(library, ref)):
                    continue
                num_models, num_readouts = import_bundle(library.store, path, replace=False)
            except (DoesNotHold, OSError, zipfile.BadZipFile) as error:
                say(f"{file.name} of {package} cannot be used: {error}")
                continue
        say(
            f"{library.loaded.task.id}: {counted(num_models, 'original')} and "
            f"{counted(num_readouts, 'readout')} come with {package} and need no training; all of "
            f"{file.name} was checked"
        )
        missing = [ref for ref in missing if not library.is_ready(ref)]
    return list(missing)


def _names(library: GoldLibrary, ref: ModelRef) -> list[tuple[str, str]]:
    """Kind and key of the entries of which one makes a model ready."""
    readouts = [library.loaded.readout_key(ref, ref.case)] if ref.case else []
    return [(MODELS, ref.key), *((READOUTS, key) for key in readouts)]
